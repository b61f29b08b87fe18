"""Settings of a training run: frozen dataclasses, and config.json.

The defaults are the ADE20K column of the paper's settings (ICLR 2021, appendix C), with the values
of the authors' release where those differ. A field is the one place that states a setting's
default, meaning, limits and whether a restart may change it (`settings.py`). Those of the networks
are in `model_config.py`, those of data and training in `training_config.py`. Nothing here needs
TensorFlow.
"""

import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Self

from oasis_tf.data.datasets import LabelSpace
from oasis_tf.io import files
from oasis_tf.settings.fields import check_fields, setting
from oasis_tf.systems.oasis.model_settings import ModelConfig
from oasis_tf.systems.oasis.training_settings import DataConfig, TrainingConfig

__all__ = [
    "CONFIG_FILE",
    "SECTIONS",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "ModelConfig",
    "TrainingConfig",
]

CONFIG_FILE = "config.json"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Networks and numbers of samples that metrics use, in training and in the evaluate command.

    Raises:
        ValueError: a field is outside its limits.
    """

    inception: str | None = setting(
        "Weights of the feature network of fid, kid and precision_recall: the Inception of 2015 "
        "(classify_image_graph_def.pb or pt_inception-2015-12-05-6726825d.pth) or Keras' ImageNet "
        "InceptionV3 (.h5). Without, a small seeded network stands in; value names tell which.",
        None,
        changeable=True,
    )
    vgg16: str | None = setting(
        "Weights of torchvision's VGG-16 (vgg16-397923af.pth): precision_recall takes its second "
        "fully connected layer then.",
        None,
        changeable=True,
    )
    lpips_backbone: str | None = setting(
        "Weights of torchvision's AlexNet or VGG-16 for LPIPS; without, a small seeded network "
        "stands in.",
        None,
        changeable=True,
    )
    lpips_heads: str | None = setting(
        "Linear heads of LPIPS 0.1 for that network (alex.pth or vgg.pth).", None, changeable=True
    )
    segmenter: str = setting(
        "Segmenter of the metric alignment: a SavedModel folder or a Keras file, or auto: a "
        "compact one, trained on the real training images and kept beside the data.",
        "auto",
        changeable=True,
    )
    segmenter_labels: str | None = setting(
        "JSON file that maps the outputs of --segmenter to the classes of the data set.",
        None,
        changeable=True,
    )
    segmenter_steps: int | None = setting(
        "Training steps of the compact segmenter; default: five epochs, at least 400.",
        None,
        minimum=1,
        changeable=True,
    )
    diversity_samples: int = setting(
        "Images painted for a label map by the metrics of diversity.",
        20,
        minimum=2,
        changeable=True,
    )
    diversity_maps: int | None = setting(
        "Label maps used by the metrics of diversity, spread over the split; default: all.",
        None,
        minimum=1,
        changeable=True,
    )
    lvis_annotations: str | None = setting(
        "lvis_v1_val.json, for the metric lvis.", None, changeable=True
    )
    lvis_detections: str | None = setting(
        "What an external detector found on the generated images, for the metric lvis: a JSON "
        "list in the form of COCO results.",
        None,
        changeable=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)


SECTIONS = {
    "model": ModelConfig,
    "data": DataConfig,
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A whole training run; what config.json of a model directory holds.

    ``training.consistency`` follows from the discriminator where it is None.

    Raises:
        ValueError: the parts contradict each other (crop sizes, losses that the discriminator
            has not got, label space).
    """

    model: ModelConfig
    data: DataConfig
    training: TrainingConfig
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    label_space: LabelSpace

    def __post_init__(self) -> None:
        _check_crop(self.model, self.data)
        training = dataclasses.replace(
            self.training, consistency=_consistency(self.model, self.training)
        )
        object.__setattr__(self, "training", training)
        _check_losses(self.model, training)
        of_model = (self.model.num_classes, self.model.has_unknown)
        of_data = (self.label_space.num_classes, self.label_space.has_unknown)
        if of_model != of_data:
            raise ValueError(
                "`model` must have the classes of the label space. Received: (num_classes, "
                f"has_unknown) {of_model} for the model, {of_data} for the label space."
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the contents of config.json."""
        sections = {name: dataclasses.asdict(getattr(self, name)) for name in SECTIONS}
        contents = {
            "format_version": FORMAT_VERSION,
            **sections,
            "label_space": self.label_space.to_json(),
        }
        return json.loads(json.dumps(contents))  # tuples become lists, as after reading

    def shared_json(self) -> dict[str, Any]:
        """Returns `to_json` without paths, which may differ between the workers of a run."""
        contents = self.to_json()
        del contents["data"]["data_dir"]
        return contents

    def to_text(self) -> str:
        """Returns config.json as it is written: `to_json`, lists of plain values on one line."""
        text = json.dumps(self.to_json(), indent=2)
        return re.sub(r"\[\n[^\[\]{}]*\]", _on_one_line, text) + "\n"

    @classmethod
    def from_json(cls, contents: Mapping[str, Any], source: str = CONFIG_FILE) -> Self:
        """Inverse of `to_json`.

        Args:
            contents: what config.json holds.
            source: its path, for messages.

        Raises:
            ValueError: another format version; unknown or impossible settings, or missing ones
                that have no default.
        """
        if not isinstance(contents, Mapping) or contents.get("format_version") != FORMAT_VERSION:
            version = contents.get("format_version") if isinstance(contents, Mapping) else contents
            raise ValueError(
                f"{source} must have format_version {FORMAT_VERSION}. Received: {version!r}. Use "
                "the release of oasis_tf that wrote it."
            )
        optional = {"evaluation"}  # younger than the format
        required = {*SECTIONS, "label_space", "format_version"} - optional
        _check_keys(required, contents, source, optional)
        try:
            parts = {name: _section_from_json(kind, contents[name], name)
                     for name, kind in SECTIONS.items() if name in contents}  # fmt: skip
            return cls(**parts, label_space=LabelSpace.from_json(contents["label_space"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{source} does not hold a usable configuration: {error}") from error

    def save(self, model_dir: str | os.PathLike[str]) -> None:
        """Writes config.json, making the directory if need be; never leaves half a file.

        Raises:
            OSError: the directory cannot be written.
        """
        path = Path(model_dir) / CONFIG_FILE
        try:
            with files.written_aside(path) as aside:
                Path(aside).write_text(self.to_text(), encoding="utf-8")
        except OSError as error:
            raise OSError(
                f"Cannot write {path}: {error.strerror or error}. Make room there, or use another "
                "--model_dir."
            ) from error

    @classmethod
    def load(cls, model_dir: str | os.PathLike[str]) -> Self:
        """Reads config.json of a model directory.

        Raises:
            FileNotFoundError: this is not a model directory.
            ValueError: config.json is damaged or of another format version.
        """
        path = Path(model_dir) / CONFIG_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(
                f"{model_dir} is not a model directory: it has no {CONFIG_FILE}. Give the "
                "--model_dir of python -m oasis_tf.train."
            ) from error
        try:
            contents = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{path} is damaged, not JSON: {error}.") from error
        return cls.from_json(contents, str(path))


def _on_one_line(lines: re.Match[str]) -> str:
    return re.sub(r"(?<=\[)\s+|\s+(?=\])", "", re.sub(r"\n\s*", " ", lines[0]))


def _check_crop(model: ModelConfig, data: DataConfig) -> None:
    """Crops must survive the halvings of the discriminator and the doublings of the generator."""
    reasons = [f"the generator doubles images {_log2(model.generator_stride)} times"]
    multiple = model.generator_stride
    if model.has_discriminator:
        multiple = math.lcm(multiple, model.discriminator_stride)
        halvings = _log2(model.discriminator_stride)
        reasons.append(f"the discriminator halves them {halvings} times")
    for side in ("height", "width"):
        size = getattr(data, f"crop_{side}")
        if size % multiple:
            lower = size - size % multiple
            nearest = [str(s) for s in (lower, lower + multiple) if s > 0]
            raise ValueError(
                f"`crop_{side}` must be a multiple of {multiple}, because {' and '.join(reasons)}. "
                f"Received: crop_{side}={size}. Nearest valid: {' or '.join(nearest)}."
            )


def _log2(stride: int) -> int:
    return stride.bit_length() - 1


def _consistency(model: ModelConfig, training: TrainingConfig) -> str:
    if not training.lambda_labelmix:
        return "none"
    return training.consistency or ("labelmix" if model.segments else "none")


def _check_losses(model: ModelConfig, training: TrainingConfig) -> None:
    """Losses must be of what the discriminator and the given files have."""
    if training.consistency != "none" and not model.pixel_logits:
        raise ValueError(
            f"`consistency={training.consistency}` compares logits pixel by pixel, and this "
            f"discriminator has none for every pixel. Received: discriminator={model.discriminator}"
            ". Leave --consistency out, or choose a U-Net (--discriminator=oasis or oasis_x2)."
        )
    if training.labelmix_bits == "image" and training.consistency != "labelmix":
        raise ValueError(
            "`labelmix_bits=image` is a way of LabelMix, and there is none. Received: "
            f"consistency={training.consistency}. Leave --labelmix_bits out."
        )
    if training.chunk_logits and model.has_discriminator and not model.segments:
        raise ValueError(
            "`chunk_logits` is for discriminators with logits for every class. Received: "
            f"discriminator={model.discriminator}, label_encoding={model.label_encoding}. Leave "
            "--chunk_logits out."
        )
    if training.lambda_vgg and training.vgg19 is None:
        raise ValueError(
            "`lambda_vgg` needs the weights of VGG-19, which are not part of this project. "
            f"Received: lambda_vgg={training.lambda_vgg}, vgg19=None. Give --vgg19=FILE, or "
            "--lambda_vgg=0."
        )


def _check_keys(
    required: set[str], contents: Mapping[str, Any], source: str, optional: Set[str] = frozenset()
) -> None:
    missing, unknown = required - set(contents), set(contents) - required - optional
    if missing or unknown:
        raise ValueError(
            f"{source} must have the keys {', '.join(sorted(required | optional))}. "
            f"Missing: {', '.join(sorted(missing)) or 'none'}; "
            f"unknown: {', '.join(sorted(unknown)) or 'none'}."
        )


def _section_from_json(kind: type, contents: Mapping[str, Any], name: str) -> Any:
    # A setting that is not there is younger than the file: its default is what was done before.
    fields = dataclasses.fields(kind)
    optional = {field.name for field in fields if field.default is not dataclasses.MISSING}
    required = {field.name for field in fields} - optional
    _check_keys(required, contents, f"`{name}`", optional)
    return kind(**contents)

"""Settings of a training run: frozen dataclasses, and config.json.

The defaults are the ADE20K column of the paper's settings (ICLR 2021, appendix C), with the values
of the authors' release where those differ. A field is the one place that states a setting's
default, meaning, limits and whether a restart may change it (`settings.py`). Nothing here needs
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

from oasis_tf import files
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.settings import as_text, check_fields, setting

CONFIG_FILE = "config.json"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Architecture of generator and discriminator.

    Raises:
        ValueError: a field is outside its limits.
    """

    num_classes: int = setting("Label channels N, the unknown label included.", flag=False)
    has_unknown: bool = setting("Whether model id 0 is the unknown label.", flag=False)
    has_discriminator: bool = setting(
        "Whether there is one; without, a model can only generate and be exported.",
        True,
        flag=False,
    )
    noise_channels: int = setting("Channels of the 3D noise; 0: no noise.", 64, minimum=0)
    generator_channels: int = setting("Unit of the generator's widths.", 64, minimum=1)
    discriminator_channels: int = setting("Unit of the discriminator's widths.", 64, minimum=1)
    spade_channels: int = setting("Hidden channels of every SPADE norm.", 128, minimum=1)
    generator_widths: tuple[int, ...] = setting(
        "Comma list: widths in and out of the generator's residual blocks, in units of "
        "--generator_channels. There is an upsampling between every two blocks.",
        (16, 16, 16, 8, 4, 2, 1),
        minimum=1,
    )
    discriminator_widths: tuple[int, ...] = setting(
        "Comma list: output widths of the discriminator's down blocks, in units of "
        "--discriminator_channels. Every block halves the image.",
        (2, 2, 4, 4, 8, 8),
        minimum=1,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.num_classes < 1 + self.has_unknown:
            raise ValueError(
                "`num_classes` must count at least one class besides the unknown label. "
                f"Received: num_classes={self.num_classes}, has_unknown={self.has_unknown}."
            )
        if len(self.generator_widths) < 2:
            raise ValueError(
                "`generator_widths` must have at least two entries, the width into and the width "
                f"out of a block. Received: generator_widths={as_text(self.generator_widths)}."
            )

    def check_discriminator(self, purpose: str) -> None:
        """Raises ValueError unless the model has the discriminator that `purpose` needs."""
        if not self.has_discriminator:
            raise missing_discriminator(purpose)

    @property
    def generator_stride(self) -> int:
        """The generator makes images whose sides are multiples of this (32 by default)."""
        return 2 ** (len(self.generator_widths) - 2)

    @property
    def discriminator_stride(self) -> int:
        """The discriminator takes images whose sides are multiples of this (64 by default)."""
        return 2 ** len(self.discriminator_widths)


def missing_discriminator(purpose: str) -> ValueError:
    """Returns the error of a model without a discriminator, for a `purpose` like "segment"."""
    return ValueError(
        f"This model cannot {purpose}: it has no discriminator. It was made from a generator's "
        "weights alone; convert them again together with --discriminator=FILE."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where training images come from and how they are cut.

    `resize_height` and `resize_width` are the crop's own size if None. `data_dir` is None only
    where the weights came from elsewhere.

    Raises:
        ValueError: a field is outside its limits, or the crop does not fit into the resized image.
    """

    data_dir: str | None = setting(
        "Prepared data set, written by python -m oasis_tf.prepare.", None, changeable=True
    )
    crop_height: int = setting("Height of training images in pixels.", 256, minimum=1)
    crop_width: int = setting("Width of training images in pixels.", 256, minimum=1)
    resize_height: int | None = setting(
        "Height images are resized to before the random crop (default: --crop_height; 286 for "
        "ADE20K and COCO-Stuff at 256, 143 for LVIS at 128).",
        None,
        minimum=1,
    )
    resize_width: int | None = setting(
        "Width images are resized to before the random crop (default: as --resize_height).",
        None,
        minimum=1,
    )
    flip: bool = setting("Mirror every second training image, chosen at random.", True)
    skip_corrupt: bool = setting(
        "Do without records of the data set that cannot be read or decoded: they are looked for "
        "once at the start, counted and reported. Otherwise such a record stops the run when it "
        "is met.",
        False,
        changeable=True,
    )

    def __post_init__(self) -> None:
        for side in ("height", "width"):
            if getattr(self, f"resize_{side}") is None:
                object.__setattr__(self, f"resize_{side}", getattr(self, f"crop_{side}"))
        check_fields(self)
        for side in ("height", "width"):
            crop, resize = getattr(self, f"crop_{side}"), getattr(self, f"resize_{side}")
            if resize < crop:
                raise ValueError(
                    f"`resize_{side}` must be at least `crop_{side}`: crops are cut from the "
                    f"resized image. Received: resize_{side}={resize}, crop_{side}={crop}."
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Batch, duration, losses, optimizers, precision, devices and cadences.

    Raises:
        ValueError: a field is outside its limits.
    """

    batch_size: int = setting("Images in a step, over all devices.", 32, minimum=1)
    steps: int = setting(
        "Steps to train for, counted from the very first; instead of --epochs.",
        changeable=True,
        minimum=0,
    )
    lr_g: float = setting("Learning rate of the generator.", 1e-4, above=0)
    lr_d: float = setting("Learning rate of the discriminator.", 4e-4, above=0)
    beta_1: float = setting("Adam's decay of the mean gradient.", 0.0, minimum=0, below=1)
    beta_2: float = setting("Adam's decay of the squared gradient.", 0.999, minimum=0, below=1)
    init_gain: float = setting("Gain of the Xavier-normal initial kernels.", 0.02, above=0)
    lambda_labelmix: float = setting(
        "Weight of LabelMix consistency; 0: no LabelMix.", 10.0, minimum=0
    )
    ema_decay: float = setting(
        "Decay of the generator's moving average.", 0.9999, minimum=0, below=1
    )
    seed: int = setting("Seed of every random choice.", 0, minimum=0, below=2**63)
    mixed_precision: str = setting(
        "Type of the arithmetic in between; weights and losses stay float32.",
        "none",
        choices=("none", "bfloat16", "float16"),
    )
    remat: bool = setting(
        "Compute the activations inside blocks again for their gradient instead of keeping them: "
        "less memory, more time, the same numbers.",
        False,
        changeable=True,
    )
    strategy: str = setting(
        "Devices. auto: all GPUs of this machine, multi_worker if TF_CONFIG is set; none: one "
        "device.",
        "auto",
        choices=("auto", "none", "mirrored", "multi_worker"),
        changeable=True,
    )
    jit_compile: bool = setting("Compile the step with XLA.", False, changeable=True)
    log_every: int = setting(
        "Steps between lines of losses and speed.", 100, minimum=1, changeable=True
    )
    image_every: int = setting("Steps between sample images.", 1000, minimum=1, changeable=True)
    checkpoint_every: int = setting("Steps between checkpoints.", 1000, minimum=1, changeable=True)
    keep_every: int = setting(
        "Keep for good the first checkpoint in every so many steps; 0: none.",
        10000,
        minimum=0,
        changeable=True,
    )
    max_to_keep: int = setting("Latest checkpoints kept.", 2, minimum=1, changeable=True)
    statistics_batches: int = setting(
        "Training batches from which the averaged generator's batch statistics are re-estimated.",
        51,
        minimum=1,
    )

    eval_every: int = setting(
        "Steps between evaluations on the validation split; 0: none.",
        0,
        minimum=0,
        changeable=True,
    )
    eval_metrics: str = setting(
        "Comma list: metrics of those evaluations, as --metrics of the evaluate command.",
        "fid",
        changeable=True,
    )
    best_metric: str | None = setting(
        "Value by which the best checkpoint is chosen and kept, such as fid_inception2015 or "
        "alignment_compact/miou (default: the first value of the evaluation).",
        None,
        changeable=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)


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

    Raises:
        ValueError: the parts contradict each other (crop sizes, label space).
    """

    model: ModelConfig
    data: DataConfig
    training: TrainingConfig
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    label_space: LabelSpace

    def __post_init__(self) -> None:
        _check_crop(self.model, self.data)
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
    multiple = model.generator_stride
    if model.has_discriminator:
        multiple = math.lcm(multiple, model.discriminator_stride)
    for side in ("height", "width"):
        size = getattr(data, f"crop_{side}")
        if size % multiple:
            lower = size - size % multiple
            nearest = [str(s) for s in (lower, lower + multiple) if s > 0]
            raise ValueError(
                f"`crop_{side}` must be a multiple of {multiple}, because the discriminator "
                f"halves images {len(model.discriminator_widths)} times and the generator "
                f"doubles them {len(model.generator_widths) - 2} times. Received: "
                f"crop_{side}={size}. Nearest valid: {' or '.join(nearest)}."
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

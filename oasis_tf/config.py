"""Settings of a training run: frozen dataclasses, their flags, and config.json.

The defaults are the ADE20K column of the paper's settings (ICLR 2021, appendix C), with the values
of the authors' release where those differ. A field is the one place that states a setting's
default, meaning, limits and whether a restart may change it; flags, checks and restart rules are
derived from it. Nothing here needs TensorFlow.
"""

import dataclasses
import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Self

from absl import flags

from oasis_tf import files
from oasis_tf.data.datasets import LabelSpace

CONFIG_FILE = "config.json"
FORMAT_VERSION = 1
DEFAULT_EPOCHS = 200
# Published training crop side -> side resized to before cropping. Cityscapes is not cropped.
PUBLISHED_RESIZE = {
    "ade20k": (256, 286),
    "ade_outdoors": (256, 286),
    "coco_stuff": (256, 286),
    "lvis": (128, 143),
}


def _setting(
    help_text: str,
    default: Any = dataclasses.MISSING,
    *,
    flag: bool = True,
    changeable: bool = False,
    minimum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declares a field.

    Args:
        help_text: what the flag's help says.
        default: the value without a flag.
        flag: whether there is a flag; otherwise the prepared data set gives the value.
        changeable: whether a restart may give another value than config.json.
        minimum: smallest value allowed; of every entry, for a tuple.
        above: values must be larger.
        below: values must be smaller.
        choices: the values allowed.
    """
    rules = {"minimum": minimum, "above": above, "below": below, "choices": choices}
    metadata = {"help": help_text, "flag": flag, "changeable": changeable, **rules}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Architecture of generator and discriminator.

    Raises:
        ValueError: a field is outside its limits.
    """

    num_classes: int = _setting("Label channels N, the unknown label included.", flag=False)
    has_unknown: bool = _setting("Whether model id 0 is the unknown label.", flag=False)
    has_discriminator: bool = _setting(
        "Whether there is one; without, a model can only generate and be exported.",
        True,
        flag=False,
    )
    noise_channels: int = _setting("Channels of the 3D noise; 0: no noise.", 64, minimum=0)
    generator_channels: int = _setting("Unit of the generator's widths.", 64, minimum=1)
    discriminator_channels: int = _setting("Unit of the discriminator's widths.", 64, minimum=1)
    spade_channels: int = _setting("Hidden channels of every SPADE norm.", 128, minimum=1)
    generator_widths: tuple[int, ...] = _setting(
        "Comma list: widths in and out of the generator's residual blocks, in units of "
        "--generator_channels. There is an upsampling between every two blocks.",
        (16, 16, 16, 8, 4, 2, 1),
        minimum=1,
    )
    discriminator_widths: tuple[int, ...] = _setting(
        "Comma list: output widths of the discriminator's down blocks, in units of "
        "--discriminator_channels. Every block halves the image.",
        (2, 2, 4, 4, 8, 8),
        minimum=1,
    )

    def __post_init__(self) -> None:
        _check_fields(self)
        if self.num_classes < 1 + self.has_unknown:
            raise ValueError(
                "`num_classes` must count at least one class besides the unknown label. "
                f"Received: num_classes={self.num_classes}, has_unknown={self.has_unknown}."
            )
        if len(self.generator_widths) < 2:
            raise ValueError(
                "`generator_widths` must have at least two entries, the width into and the width "
                f"out of a block. Received: generator_widths={_as_text(self.generator_widths)}."
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

    data_dir: str | None = _setting(
        "Prepared data set, written by python -m oasis_tf.prepare.", None, changeable=True
    )
    crop_height: int = _setting("Height of training images in pixels.", 256, minimum=1)
    crop_width: int = _setting("Width of training images in pixels.", 256, minimum=1)
    resize_height: int | None = _setting(
        "Height images are resized to before the random crop (default: --crop_height; 286 for "
        "ADE20K and COCO-Stuff at 256, 143 for LVIS at 128).",
        None,
        minimum=1,
    )
    resize_width: int | None = _setting(
        "Width images are resized to before the random crop (default: as --resize_height).",
        None,
        minimum=1,
    )
    flip: bool = _setting("Mirror every second training image, chosen at random.", True)
    skip_corrupt: bool = _setting(
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
        _check_fields(self)
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

    batch_size: int = _setting("Images in a step, over all devices.", 32, minimum=1)
    steps: int = _setting(
        "Steps to train for, counted from the very first; instead of --epochs.",
        changeable=True,
        minimum=0,
    )
    lr_g: float = _setting("Learning rate of the generator.", 1e-4, above=0)
    lr_d: float = _setting("Learning rate of the discriminator.", 4e-4, above=0)
    beta_1: float = _setting("Adam's decay of the mean gradient.", 0.0, minimum=0, below=1)
    beta_2: float = _setting("Adam's decay of the squared gradient.", 0.999, minimum=0, below=1)
    init_gain: float = _setting("Gain of the Xavier-normal initial kernels.", 0.02, above=0)
    lambda_labelmix: float = _setting(
        "Weight of LabelMix consistency; 0: no LabelMix.", 10.0, minimum=0
    )
    ema_decay: float = _setting(
        "Decay of the generator's moving average.", 0.9999, minimum=0, below=1
    )
    seed: int = _setting("Seed of every random choice.", 0, minimum=0, below=2**63)
    mixed_precision: str = _setting(
        "Type of the arithmetic in between; weights and losses stay float32.",
        "none",
        choices=("none", "bfloat16", "float16"),
    )
    remat: bool = _setting(
        "Compute the activations inside blocks again for their gradient instead of keeping them: "
        "less memory, more time, the same numbers.",
        False,
        changeable=True,
    )
    strategy: str = _setting(
        "Devices. auto: all GPUs of this machine, multi_worker if TF_CONFIG is set; none: one "
        "device.",
        "auto",
        choices=("auto", "none", "mirrored", "multi_worker"),
        changeable=True,
    )
    jit_compile: bool = _setting("Compile the step with XLA.", False, changeable=True)
    log_every: int = _setting(
        "Steps between lines of losses and speed.", 100, minimum=1, changeable=True
    )
    image_every: int = _setting("Steps between sample images.", 1000, minimum=1, changeable=True)
    checkpoint_every: int = _setting("Steps between checkpoints.", 1000, minimum=1, changeable=True)
    keep_every: int = _setting(
        "Keep for good the first checkpoint in every so many steps; 0: none.",
        10000,
        minimum=0,
        changeable=True,
    )
    max_to_keep: int = _setting("Latest checkpoints kept.", 2, minimum=1, changeable=True)
    statistics_batches: int = _setting(
        "Training batches from which the averaged generator's batch statistics are re-estimated.",
        51,
        minimum=1,
    )

    eval_every: int = _setting(
        "Steps between evaluations on the validation split; 0: none.",
        0,
        minimum=0,
        changeable=True,
    )
    eval_metrics: str = _setting(
        "Comma list: metrics of those evaluations, as --metrics of the evaluate command.",
        "fid",
        changeable=True,
    )
    best_metric: str | None = _setting(
        "Value by which the best checkpoint is chosen and kept, such as fid_inception2015 or "
        "alignment_compact/miou (default: the first value of the evaluation).",
        None,
        changeable=True,
    )

    def __post_init__(self) -> None:
        _check_fields(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Networks and numbers of samples that metrics use, in training and in the evaluate command.

    Raises:
        ValueError: a field is outside its limits.
    """

    inception: str | None = _setting(
        "Weights of the feature network of fid, kid and precision_recall: the Inception of 2015 "
        "(classify_image_graph_def.pb or pt_inception-2015-12-05-6726825d.pth) or Keras' ImageNet "
        "InceptionV3 (.h5). Without, a small seeded network stands in; value names tell which.",
        None,
        changeable=True,
    )
    vgg16: str | None = _setting(
        "Weights of torchvision's VGG-16 (vgg16-397923af.pth): precision_recall takes its second "
        "fully connected layer then.",
        None,
        changeable=True,
    )
    lpips_backbone: str | None = _setting(
        "Weights of torchvision's AlexNet or VGG-16 for LPIPS; without, a small seeded network "
        "stands in.",
        None,
        changeable=True,
    )
    lpips_heads: str | None = _setting(
        "Linear heads of LPIPS 0.1 for that network (alex.pth or vgg.pth).", None, changeable=True
    )
    segmenter: str = _setting(
        "Segmenter of the metric alignment: a SavedModel folder or a Keras file, or auto: a "
        "compact one, trained on the real training images and kept beside the data.",
        "auto",
        changeable=True,
    )
    segmenter_labels: str | None = _setting(
        "JSON file that maps the outputs of --segmenter to the classes of the data set.",
        None,
        changeable=True,
    )
    segmenter_steps: int | None = _setting(
        "Training steps of the compact segmenter; default: five epochs, at least 400.",
        None,
        minimum=1,
        changeable=True,
    )
    diversity_samples: int = _setting(
        "Images painted for a label map by the metrics of diversity.",
        20,
        minimum=2,
        changeable=True,
    )
    diversity_maps: int | None = _setting(
        "Label maps used by the metrics of diversity, spread over the split; default: all.",
        None,
        minimum=1,
        changeable=True,
    )
    lvis_annotations: str | None = _setting(
        "lvis_v1_val.json, for the metric lvis.", None, changeable=True
    )
    lvis_detections: str | None = _setting(
        "What an external detector found on the generated images, for the metric lvis: a JSON "
        "list in the form of COCO results.",
        None,
        changeable=True,
    )

    def __post_init__(self) -> None:
        _check_fields(self)


_SECTIONS = {
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
        sections = {name: dataclasses.asdict(getattr(self, name)) for name in _SECTIONS}
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
        required = {*_SECTIONS, "label_space", "format_version"} - optional
        _check_keys(required, contents, source, optional)
        try:
            parts = {name: _section_from_json(kind, contents[name], name)
                     for name, kind in _SECTIONS.items() if name in contents}  # fmt: skip
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


# === Checks ===


def _check_fields(section: Any) -> None:
    """Checks type and limits of every field; makes lists tuples and, where due, ints floats."""
    for field in dataclasses.fields(section):
        value = _as_type(field, getattr(section, field.name))
        object.__setattr__(section, field.name, value)
        _check_limits(field, value)


_OPTIONAL = {int | None: int, str | None: str}


def _as_type(field: dataclasses.Field, value: Any) -> Any:
    """Returns the value as the field's type, which for ints and bools it must have already."""
    if _is_widths(field):
        if isinstance(value, (list, tuple)) and value and all(type(v) is int for v in value):
            return tuple(value)
        raise ValueError(
            f"`{field.name}` must be whole numbers, at least one. Received: {field.name}={value!r}."
        )
    kind = _OPTIONAL.get(field.type, field.type)
    if value is None and field.type in _OPTIONAL:
        return None
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise ValueError(
            f"`{field.name}` must be of type {kind.__name__}"
            f"{' and finite' if kind is float else ''}. Received: {field.name}={value!r}."
        )
    return value


def _check_limits(field: dataclasses.Field, value: Any) -> None:
    if value is None:
        return
    minimum, above, below, choices = (
        field.metadata[rule] for rule in ("minimum", "above", "below", "choices")
    )
    smallest = min(value) if isinstance(value, tuple) else value
    rules = [
        (minimum is not None and smallest < minimum, f"at least {minimum}"),
        (above is not None and smallest <= above, f"greater than {above}"),
        (below is not None and value >= below, f"less than {below}"),
        (bool(choices) and value not in choices, f"one of {', '.join(choices)}"),
        (value == "", "a path"),
    ]
    for broken, rule in rules:
        if broken:
            raise ValueError(
                f"`{field.name}` must be {rule}. Received: {field.name}={_as_text(value)}."
            )


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


# === Flags ===


class _WidthsParser(flags.ArgumentParser):
    """Parses "16,8,4" to (16, 8, 4)."""

    syntactic_help = "comma separated whole numbers"

    def parse(self, argument: str | tuple[int, ...]) -> tuple[int, ...]:
        if isinstance(argument, tuple):
            return argument
        try:
            return tuple(int(part) for part in argument.split(","))
        except ValueError:
            raise ValueError("must be whole numbers with commas between, as in 2,2,4") from None

    def flag_type(self) -> str:
        return "comma separated list of integers"


def _is_widths(field: dataclasses.Field) -> bool:
    return field.type == tuple[int, ...]


def _flag_fields() -> list[dataclasses.Field]:
    """Returns the fields of all sections that have a flag of the same name."""
    fields = [field for kind in _SECTIONS.values() for field in dataclasses.fields(kind)]
    return [field for field in fields if field.metadata["flag"]]


def define_setting_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag for every setting, and --epochs.

    All default to None, so that `given_flags` can tell a flag that was given from one that was
    not; the help text states the default.
    """
    for field in _flag_fields():
        _define_flag(field, flag_values)
    flags.DEFINE_integer(
        "epochs",
        None,
        f"Passes over the training images, instead of --steps. (default: {DEFAULT_EPOCHS})",
        flag_values=flag_values,
    )


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of the train command."""
    define_setting_flags(flag_values)
    flags.DEFINE_string(
        "model_dir",
        None,
        "Directory of the run: configuration, checkpoints, samples, events. One that exists is "
        "continued; flags not given then come from its config.json.",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "dry_run",
        False,
        "Print the resolved configuration, parameter counts and a memory estimate, then exit.",
        flag_values=flag_values,
    )


def define_evaluation_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag for every setting of `EvaluationConfig`, as `define_setting_flags` does."""
    for field in dataclasses.fields(EvaluationConfig):
        _define_flag(field, flag_values)


def evaluation_settings(previous: EvaluationConfig, flag_values: flags.FlagValues = flags.FLAGS):
    """Returns the settings that `define_evaluation_flags` defined, else those of `previous`."""
    given = {name: flag_values[name].value for name in vars(previous)}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(previous, **given)


def _define_flag(field: dataclasses.Field, flag_values: flags.FlagValues) -> None:
    name, choices, help_text = field.name, field.metadata["choices"], field.metadata["help"]
    if field.default not in (dataclasses.MISSING, None):
        help_text += f" (default: {_as_text(field.default)})"
    if _is_widths(field):
        serializer = flags.ListSerializer(",")
        flags.DEFINE(_WidthsParser(), name, None, help_text, flag_values, serializer)
    elif choices:
        flags.DEFINE_enum(name, None, list(choices), help_text, flag_values=flag_values)
    else:
        define = {
            bool: flags.DEFINE_boolean,
            float: flags.DEFINE_float,
            str: flags.DEFINE_string,
        }.get(_OPTIONAL.get(field.type, field.type), flags.DEFINE_integer)
        define(name, None, help_text, flag_values=flag_values)


def given_flags(
    flag_values: flags.FlagValues = flags.FLAGS, command_line: Sequence[str] | None = None
) -> dict[str, Any]:
    """Returns the settings given as flags, by name; `epochs` among them.

    Of --steps and --epochs, one written on the command line overrules one out of a flagfile.

    Args:
        flag_values: where `define_flags` defined the flags.
        command_line: the arguments as typed, flagfiles not expanded; default `sys.argv[1:]`.

    Raises:
        ValueError: both --steps and --epochs are given, neither overruling the other.
    """
    names = [field.name for field in _flag_fields()] + ["epochs"]
    given = {name: flag_values[name].value for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    if "steps" in given and "epochs" in given:
        typed = _typed_flags(sys.argv[1:] if command_line is None else command_line)
        durations = {"steps", "epochs"} & typed
        if len(durations) != 1:
            raise ValueError(
                "Only one of --steps and --epochs may be given. Received: "
                f"--steps={given['steps']} --epochs={given['epochs']}."
            )
        del given[({"steps", "epochs"} - durations).pop()]
    return given


def given_settings(flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
    """Returns the settings given as flags, by name, but for how long to train."""
    names = [field.name for field in _flag_fields() if field.name != "steps"]
    given = {name: flag_values[name].value for name in names}
    return {name: value for name, value in given.items() if value is not None}


def flagfile_settings(arguments: Sequence[str]) -> dict[str, Any]:
    """Returns the settings in flags that were read from a flagfile; see `given_settings`."""
    flag_values = flags.FlagValues()
    define_setting_flags(flag_values)
    flag_values(["", *arguments])
    return given_settings(flag_values)


def _typed_flags(command_line: Sequence[str]) -> set[str]:
    return {a.lstrip("-").partition("=")[0] for a in command_line if a.startswith("-")}


# === Resolving ===


def resolve(
    given: Mapping[str, Any],
    *,
    label_space: LabelSpace,
    num_examples: int,
    previous: Config | None = None,
) -> Config:
    """Completes the given settings: by those of the run that is continued, else by the defaults.

    Args:
        given: settings by name, `data_dir` and either `steps` or `epochs` or neither among them.
        label_space: of the prepared data set.
        num_examples: training images of the prepared data set.
        previous: configuration of the model directory, if it has one already.

    Returns:
        The configuration, `data_dir` made absolute.

    Raises:
        ValueError: a setting is impossible, unknown or missing, or contradicts `previous`.
    """
    given = dict(given)
    epochs = given.pop("epochs", None)
    _check_known(given)
    if epochs is not None and ("steps" in given or epochs < 1):
        raise ValueError(
            "`epochs` must be at least 1, and given without `steps`. Received: "
            f"epochs={epochs}, steps={given.get('steps')}."
        )
    if previous is not None:
        _check_restart(given, label_space, previous)
    if previous is None:
        settings = _published_resize(given, label_space) | given
    else:
        settings = _settings_of(previous) | given
    if not settings.get("data_dir"):
        raise ValueError("`data_dir` must be given: --data_dir=DIR of a prepared data set.")
    config = _assembled({"steps": 0} | settings, label_space)
    if epochs is None and "steps" in settings:
        return config
    steps = steps_of(epochs or DEFAULT_EPOCHS, num_examples, config.training.batch_size)
    return dataclasses.replace(config, training=dataclasses.replace(config.training, steps=steps))


def converted(settings: Mapping[str, Any], *, label_space: LabelSpace) -> Config:
    """Completes the settings of a model whose weights come from elsewhere: no step is taken yet.

    Args:
        settings: settings by name, the architecture among them.
        label_space: classes of the model.

    Raises:
        ValueError: a setting is impossible or unknown.
    """
    settings = _published_resize(settings, label_space) | settings
    return _assembled(settings | {"steps": 0}, label_space)


def _assembled(settings: Mapping[str, Any], label_space: LabelSpace) -> Config:
    settings = dict(settings)
    if settings.get("data_dir"):
        settings["data_dir"] = os.path.abspath(os.path.expanduser(settings["data_dir"]))
    settings["num_classes"] = label_space.num_classes
    settings["has_unknown"] = label_space.has_unknown
    sections = {name: _pick(kind, settings) for name, kind in _SECTIONS.items()}
    return Config(**sections, label_space=label_space)


def steps_of(epochs: int, num_examples: int, batch_size: int) -> int:
    """Returns the steps in which every image is seen at least `epochs` times.

    Raises:
        ValueError: there are no images.
    """
    if num_examples < 1:
        raise ValueError(
            "The data set must have at least 1 training image. Received: "
            f"num_examples={num_examples}. Prepare it again."
        )
    return -(-epochs * num_examples // batch_size)


def _check_known(given: Mapping[str, Any]) -> None:
    known = {field.name for field in _flag_fields()}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(
            f"Unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}, epochs."
        )


def _published_resize(given: Mapping[str, Any], label_space: LabelSpace) -> dict[str, Any]:
    """Returns the resize of a published data set at its published crop, nothing otherwise."""
    crop, resize = PUBLISHED_RESIZE.get(label_space.dataset, (None, None))
    default = _default(DataConfig, "crop_height")
    sides = ("height", "width")
    if all(given.get(f"crop_{side}", default) == crop for side in sides):
        return {f"resize_{side}": resize for side in sides}
    return {}


def _settings_of(config: Config) -> dict[str, Any]:
    return {name: v for part in _SECTIONS for name, v in vars(getattr(config, part)).items()}


def _check_restart(given: Mapping[str, Any], label_space: LabelSpace, previous: Config) -> None:
    """Raises if flags or data set contradict the run that is continued; lists all of them."""
    saved = _settings_of(previous)
    fixed = [field for field in _flag_fields() if not field.metadata["changeable"]]
    conflicts = [
        f"--{field.name}={_as_text(given[field.name])} against {_as_text(saved[field.name])}"
        for field in fixed
        if field.name in given and given[field.name] != saved[field.name]
    ]
    new, old = label_space.to_json(), previous.label_space.to_json()
    conflicts += [
        f"`{key}` of the data set, {_shortened(new.get(key))} against {_shortened(value)}"
        for key, value in old.items()
        if new.get(key) != value
    ]
    if conflicts:
        raise ValueError(
            "The model directory was started with other settings than those given now "
            "(given against config.json):\n  " + "\n  ".join(conflicts) + "\n"
            "To continue that run, drop these flags or use its data set; to start a new one, use "
            "another --model_dir."
        )


def _pick(kind: type, settings: Mapping[str, Any]) -> Any:
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: settings[name] for name in names if name in settings})


def _default(kind: type, name: str) -> Any:
    return kind.__dataclass_fields__[name].default


def _as_text(value: Any) -> str:
    """Returns a value as it is written in a flag."""
    if isinstance(value, tuple):
        return ",".join(str(v) for v in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shortened(value: Any, length: int = 60) -> str:
    text = json.dumps(value)
    return text if len(text) <= length else f"{text[:length]}..."

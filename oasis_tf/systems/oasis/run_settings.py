"""The configuration that flags, a continued run and the data set decide together."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from oasis_tf.data.datasets import LabelSpace
from oasis_tf.settings.fields import as_text
from oasis_tf.settings.setting_flags import DEFAULT_EPOCHS, flag_fields
from oasis_tf.systems.oasis.config import SECTIONS, Config, DataConfig
from oasis_tf.systems.oasis.model_settings import with_implied

# Published training crop side -> side resized to before cropping. Cityscapes is not cropped.
PUBLISHED_RESIZE = {
    "ade20k": (256, 286),
    "ade_outdoors": (256, 286),
    "coco_stuff": (256, 286),
    "lvis": (128, 143),
}


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
    given = with_implied(given)
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
    sections = {name: _pick(kind, settings) for name, kind in SECTIONS.items()}
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
    known = {field.name for field in flag_fields()}
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
    return {name: v for part in SECTIONS for name, v in vars(getattr(config, part)).items()}


def _check_restart(given: Mapping[str, Any], label_space: LabelSpace, previous: Config) -> None:
    """Raises if flags or data set contradict the run that is continued; lists all of them."""
    saved = _settings_of(previous)
    fixed = [field for field in flag_fields() if not field.metadata["changeable"]]
    conflicts = [
        f"--{field.name}={as_text(given[field.name])} against {as_text(saved[field.name])}"
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


def _shortened(value: Any, length: int = 60) -> str:
    text = json.dumps(value)
    return text if len(text) <= length else f"{text[:length]}..."

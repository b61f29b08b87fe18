"""The configuration of a run of OASIS: of flags, a continued run and the data set together."""

import os
from collections.abc import Mapping
from typing import Any

from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.settings import DataConfig
from oasis_tf.settings import merging
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.model_settings import with_implied

# Published training crop side -> side resized to before cropping. Cityscapes is not cropped.
PUBLISHED_RESIZE = {
    "ade20k": (256, 286),
    "ade_outdoors": (256, 286),
    "coco_stuff": (256, 286),
    "lvis": (128, 143),
}


def resolve_run(given: Mapping[str, Any], previous: Config | None) -> Config:
    """Returns the configuration of flags, a continued run and the prepared data set.

    Args:
        given: settings by name, of the flags that were given.
        previous: configuration of the model directory, if it has one already.

    Raises:
        ValueError: no data set, a setting is impossible, or flags contradict the model directory
            or its data set, or its model has no discriminator.
        OSError: `data_dir` is not a prepared data set.
    """
    if previous is not None:
        previous.model.check_discriminator("be trained")
    data_dir = given.get("data_dir") or (previous and previous.data.data_dir)
    if not data_dir:
        raise ValueError("`data_dir` must be given: --data_dir=DIR of a prepared data set.")
    from oasis_tf.data.tfrecord import PreparedDataset  # here: it loads TensorFlow

    skip_corrupt = given.get("skip_corrupt", previous is not None and previous.data.skip_corrupt)
    try:
        dataset = PreparedDataset.load(os.path.expanduser(data_dir), skip_corrupt=skip_corrupt)
    except (ValueError, OSError) as error:
        if "data_dir" in given:
            raise
        raise ValueError(f"{error} If the data set has moved, give its --data_dir.") from error
    return resolve(
        given,
        label_space=dataset.label_space,
        num_examples=dataset.num_examples("train"),
        previous=previous,
    )


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
    config = merging.merge(
        Config,
        given,
        facts={"label_space": label_space},
        decided=_decided(label_space),
        defaults=_published_resize(given, label_space),
        num_examples=num_examples,
        previous=previous,
    )
    if not config.data.data_dir:
        raise ValueError("`data_dir` must be given: --data_dir=DIR of a prepared data set.")
    return config


def converted(settings: Mapping[str, Any], *, label_space: LabelSpace) -> Config:
    """Completes the settings of a model whose weights come from elsewhere: no step is taken yet.

    Args:
        settings: settings by name, the architecture among them.
        label_space: classes of the model.

    Raises:
        ValueError: a setting is impossible or unknown.
    """
    settings = _published_resize(settings, label_space) | settings | {"steps": 0}
    settings |= _decided(label_space)
    return merging.assemble(Config, settings, {"label_space": label_space})


def _decided(label_space: LabelSpace) -> dict[str, Any]:
    """Returns the settings that the data set decides."""
    return {"num_classes": label_space.num_classes, "has_unknown": label_space.has_unknown}


def _published_resize(given: Mapping[str, Any], label_space: LabelSpace) -> dict[str, Any]:
    """Returns the resize of a published data set at its published crop, nothing otherwise."""
    crop, resize = PUBLISHED_RESIZE.get(label_space.dataset, (None, None))
    sides = ("height", "width")
    default = DataConfig.__dataclass_fields__["crop_height"].default
    if all(given.get(f"crop_{side}", default) == crop for side in sides):
        return {f"resize_{side}": resize for side in sides}
    return {}

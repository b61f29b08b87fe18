"""Resolves the configuration of a run of OASIS from flags, a continued run and the data set."""

import os
from collections.abc import Mapping
from typing import Any

from oasis_tf import pretrained
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.settings import DataConfig
from oasis_tf.settings import merging
from oasis_tf.systems.oasis.config import Config
from oasis_tf.systems.oasis.model_settings import with_implied
from oasis_tf.systems.oasis.source_model import SourceModel

# Published sides of crops and of the resized images that they are taken from. Cityscapes is not
# cropped.
PUBLISHED_RESIZE = {
    "ade20k": (256, 286),
    "ade_outdoors": (256, 286),
    "coco_stuff": (256, 286),
    "lvis": (128, 143),
}


def resolve_run(given: Mapping[str, Any], previous: Config | None) -> Config:
    """Resolves the configuration from flags, a continued run and the prepared data set.

    Args:
        given: settings of the given flags, by name.
        previous: configuration of the model directory, or None if it has none.

    Raises:
        ValueError: there is no data set, a setting is invalid, flags contradict the model directory
            or its data set, its model has no discriminator, or the model to start from does not
            fit.
        OSError: `data_dir` is not a prepared data set, or `init_from` not a model directory.
    """
    given, source = dict(given), None
    if "init_from" in given:
        given["init_from"] = os.path.abspath(pretrained.find(given["init_from"]))
    if previous is not None:
        previous.model.check_discriminator("be trained")
    elif "init_from" in given:
        source = SourceModel.find(given["init_from"])
    data_dir, trained_on = given.get("data_dir"), previous and previous.data.data_dir
    if not (data_dir or trained_on):
        raise ValueError("`data_dir` must be given: --data_dir=DIR of a prepared data set.")
    from oasis_tf.data.tfrecord import load_for_model  # here: it loads TensorFlow

    skip_corrupt = given.get("skip_corrupt", previous is not None and previous.data.skip_corrupt)
    dataset = load_for_model(data_dir, trained_on, skip_corrupt=skip_corrupt)
    config = resolve(
        given,
        label_space=dataset.label_space,
        num_examples=dataset.num_examples("train"),
        previous=previous,
        source=source,
    )
    dataset.check_training_size(config.data.resize_height, config.data.resize_width)
    return config


def resolve(
    given: Mapping[str, Any],
    *,
    label_space: LabelSpace,
    num_examples: int,
    previous: Config | None = None,
    source: SourceModel | None = None,
) -> Config:
    """Completes given settings: with those of the continued run, otherwise with the defaults.

    Args:
        given: settings by name, `data_dir` included. They may include either `steps` or `epochs`.
            A path `init_from` is absolute.
        label_space: label space of the prepared data set.
        num_examples: number of training images of the prepared data set.
        previous: configuration of the model directory, or None if it has none.
        source: the model that a new run starts from, or None. It gives defaults of the networks.

    Returns:
        The configuration, with an absolute `data_dir`.

    Raises:
        ValueError: a setting is invalid, unknown or missing, or contradicts `previous`.
    """
    given = with_implied(given)
    of_source = source.settings(given) if source else {}
    step = {"init_step": source.step} if source else {}
    config = merging.merge(
        Config,
        given,
        facts={"label_space": label_space},
        decided=_decided(label_space) | step,
        defaults=_published_resize(given, label_space) | of_source,
        num_examples=num_examples,
        previous=previous,
    )
    if not config.data.data_dir:
        raise ValueError("`data_dir` must be given: --data_dir=DIR of a prepared data set.")
    if config.training.init_classes != "names" and not config.training.init_from:
        raise ValueError(
            "`init_classes` needs a model to start from. Received: "
            f"init_classes={config.training.init_classes}, init_from=None. Give --init_from."
        )
    if source:
        source.check(config)
    return config


def converted(settings: Mapping[str, Any], *, label_space: LabelSpace) -> Config:
    """Completes the settings of a model whose weights were converted: it has taken no step yet.

    Args:
        settings: settings by name, the architecture included.
        label_space: classes of the model.

    Raises:
        ValueError: a setting is invalid or unknown.
    """
    settings = _published_resize(settings, label_space) | settings | {"steps": 0}
    settings |= _decided(label_space)
    return merging.assemble(Config, settings, {"label_space": label_space})


def _decided(label_space: LabelSpace) -> dict[str, Any]:
    """Returns the settings that the data set decides."""
    return {"num_classes": label_space.num_classes, "has_unknown": label_space.has_unknown}


def _published_resize(given: Mapping[str, Any], label_space: LabelSpace) -> dict[str, Any]:
    """Returns the published size before the crop, if data set and crop are published ones."""
    crop, resize = PUBLISHED_RESIZE.get(label_space.dataset, (None, None))
    sides = ("height", "width")
    default = DataConfig.__dataclass_fields__["crop_height"].default
    if all(given.get(f"crop_{side}", default) == crop for side in sides):
        return {f"resize_{side}": resize for side in sides}
    return {}

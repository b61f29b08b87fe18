"""Resolves the configuration of a run of `few_shot` from flags, a continued run and the data."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from oasis_tf import pretrained
from oasis_tf.settings import merging
from oasis_tf.settings.fields import as_text
from oasis_tf.systems.few_shot import source, training_settings
from oasis_tf.systems.few_shot.config import Config
from oasis_tf.systems.few_shot.data_settings import DataConfig
from oasis_tf.systems.few_shot.model_settings import ModelConfig

DEFAULT_STEPS = 30_000
_MODEL_FIELDS = {field.name: field for field in dataclasses.fields(ModelConfig)}


def resolve_run(given: Mapping[str, Any], previous: Config | None) -> Config:
    """Resolves the configuration from flags, a continued run, the source and the pictures.

    Args:
        given: settings of the given flags, by name.
        previous: configuration of the model directory, or None if it has none.

    Raises:
        ValueError: there is no picture, a picture cannot be used, the source does not fit, a
            setting is invalid, or flags contradict the model directory or its pictures.
        OSError: pictures or the source cannot be read.
    """
    merging.check_known(Config, given)
    if given.get("source"):  # a path as it will be recorded, also of a shipped model's name
        given = dict(given) | {"source": os.path.abspath(pretrained.find(given["source"]))}
    settings = ({} if previous is None else previous.settings()) | dict(given)
    if not settings.get("data_dir"):
        raise ValueError("`data_dir` must be given: --data_dir=FOLDER, a folder of pictures.")
    of_source = None
    if previous is None and given.get("source"):
        from oasis_tf.systems.few_shot import pretrained_source  # may load TensorFlow

        of_source = pretrained_source.model_settings(given["source"])
    with_classes = settings.get("network") == "biggan" and not settings.get("source")
    data = DataConfig(data_dir=settings["data_dir"], num_pictures=settings.get("num_pictures", 0))
    pictures = source.inspect(data, with_classes)
    return resolve(given, pictures=pictures, of_source=of_source, previous=previous)


def resolve(
    given: Mapping[str, Any],
    *,
    pictures: source.Pictures,
    of_source: ModelConfig | None = None,
    previous: Config | None = None,
) -> Config:
    """Completes given settings: with those of the continued run, otherwise with the defaults.

    Args:
        given: settings by name, `data_dir` included.
        pictures: facts of the pictures.
        of_source: settings of the networks of the source; None without, and for a continued run.
        previous: configuration of the model directory, or None if it has none.

    Raises:
        ValueError: a setting is invalid, unknown or missing, or contradicts the source or
            `previous`.
    """
    if previous is not None:
        decided, defaults = _decided(dataclasses.asdict(previous.model)), {}
        _check_continuable(previous)
        if not previous.pictures.digest:
            previous = dataclasses.replace(previous, pictures=pictures)
    elif of_source is not None:
        _check_fits_source(given, of_source)
        defaults = dataclasses.asdict(of_source) | {"projection": False}
        decided = _decided(defaults)
    else:
        defaults = {}
        decided = {"num_classes": len(pictures.classes), "projection": True}
    network = given.get("network") or defaults.get("network", "stylegan2")
    defaults |= training_settings.defaults(network, adapted=of_source is not None)
    return merging.merge(
        Config,
        given,
        facts={"pictures": pictures},
        decided=decided,
        defaults={"steps": DEFAULT_STEPS} | defaults,
        previous=previous,
    )


def _decided(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns, of settings of the networks, those without a flag."""
    return {name: settings[name] for name, f in _MODEL_FIELDS.items() if not f.metadata["flag"]}


def _check_continuable(previous: Config) -> None:
    if not previous.model.has_discriminator:
        raise ValueError(
            "A model must have a discriminator to be trained. This one was converted without: "
            "convert it again from a checkpoint that has one, or use it as it is to sample."
        )


def _check_fits_source(given: Mapping[str, Any], of_source: ModelConfig) -> None:
    """Raises ValueError if flags ask for other networks than those of the source."""
    conflicts = [
        f"--{name}={as_text(given[name])} against {as_text(value)}"
        for name, value in vars(of_source).items()
        if name in given and given[name] != value
    ]
    if conflicts:
        raise ValueError(
            "An adapted model has the networks of its source (given against the source):\n  "
            + "\n  ".join(conflicts)
            + "\nLeave these flags out, or give a --source of that kind."
        )

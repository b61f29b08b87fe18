"""Resolves the configuration of a run of `one_shot` from flags, a continued run and the data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from oasis_tf.settings import merging
from oasis_tf.systems.one_shot import source
from oasis_tf.systems.one_shot.config import DEFAULT_STEPS, Config
from oasis_tf.systems.one_shot.data_settings import DataConfig
from oasis_tf.systems.one_shot.sizes import automatic_sizes

_DEPTHS = ("num_blocks_g", "num_blocks_d", "num_blocks_d0")


def resolve_run(given: Mapping[str, Any], previous: Config | None) -> Config:
    """Resolves the configuration from flags, a continued run and the pictures.

    Args:
        given: settings of the given flags, by name.
        previous: configuration of the model directory, or None if it has none.

    Raises:
        ValueError: there is no picture, a picture or mask cannot be used, a setting is invalid, or
            flags contradict the model directory or its pictures.
        OSError: pictures cannot be read.
    """
    merging.check_known(Config, given)
    settings = ({} if previous is None else previous.settings()) | dict(given)
    if not settings.get("data_dir"):
        raise ValueError(
            "`data_dir` must be given: --data_dir=PICTURE, a picture or a folder of pictures."
        )
    names = [field.name for field in dataclasses.fields(DataConfig)]
    data = DataConfig(**{name: settings[name] for name in names if name in settings})
    return resolve(given, source=source.inspect(data), previous=previous)


def resolve(
    given: Mapping[str, Any], *, source: source.Source, previous: Config | None = None
) -> Config:
    """Completes given settings: with those of the continued run, otherwise with the defaults.

    Args:
        given: settings by name, `data_dir` included.
        source: facts of the pictures.
        previous: configuration of the model directory, or None if it has none.

    Raises:
        ValueError: a setting is invalid, unknown or missing, or contradicts `previous`.
    """
    if previous is None:
        decided = _decided(given, source)
    else:
        _check_continuable(previous)
        previous = _adopting(previous, source)
        decided = _decided_before(previous)
    return merging.merge(
        Config,
        given,
        facts={"source": source},
        decided=decided,
        defaults={"steps": DEFAULT_STEPS},
        previous=previous,
    )


def _check_continuable(previous: Config) -> None:
    if not previous.model.has_discriminator:
        raise ValueError(
            "A model must have a discriminator to be trained. This one was converted without: "
            "convert it again, with --generator and --discriminator."
        )


def _adopting(previous: Config, source: source.Source) -> Config:
    """Returns the configuration of a converted model with the pictures that it is given first.

    Raises:
        ValueError: they have other classes.
    """
    if previous.source.digest:
        return previous
    if previous.source.num_classes != source.num_classes:
        raise ValueError(
            "Masks must have the classes of the converted model. Received: "
            f"{source.num_classes} classes, background included, for "
            f"{previous.source.num_classes}."
        )
    return dataclasses.replace(previous, source=source)


def _decided_before(previous: Config) -> dict[str, Any]:
    fields = dataclasses.fields(previous.model)
    return {f.name: getattr(previous.model, f.name) for f in fields if not f.metadata["flag"]}


def _decided(given: Mapping[str, Any], source: source.Source) -> dict[str, Any]:
    """Returns the settings that the pictures decide."""
    max_size = given.get("max_size", DataConfig.__dataclass_fields__["max_size"].default)
    depths = [given.get(name, 0) for name in _DEPTHS]
    sizes = automatic_sizes(source.height, source.width, max_size, *depths)
    return dataclasses.asdict(sizes) | {"num_classes": source.num_classes}

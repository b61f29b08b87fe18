"""Merges flags, the configuration of a continued run, and defaults into one configuration."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from oasis_tf.io.paths import local_path
from oasis_tf.settings.fields import as_text
from oasis_tf.settings.run_config import RunConfig
from oasis_tf.settings.setting_flags import flag_fields


def merge(
    kind: type[RunConfig],
    given: Mapping[str, Any],
    *,
    facts: Mapping[str, Any],
    decided: Mapping[str, Any],
    defaults: Mapping[str, Any],
    num_examples: int | None = None,
    previous: RunConfig | None = None,
) -> RunConfig:
    """Completes given settings: with those of the continued run, otherwise with the defaults.

    Args:
        kind: class of the configuration.
        given: settings by name. They may include either `steps` or `epochs`.
        facts: facts of the data set by name; see `RunConfig.FACTS`.
        decided: values of the settings without a flag.
        defaults: defaults of a new run that differ from those of the fields.
        num_examples: number of training examples, to convert `epochs` to steps.
        previous: configuration of the model directory, or None if it has none.

    Returns:
        The configuration, with absolute paths.

    Raises:
        ValueError: a setting is invalid, unknown or missing, or contradicts `previous`.
    """
    given = dict(given)
    epochs = given.pop("epochs", None)
    check_known(kind, given)
    if epochs is not None and ("steps" in given or epochs < 1):
        raise ValueError(
            "`epochs` must be at least 1 and given without `steps`. Received: "
            f"epochs={epochs}, steps={given.get('steps')}."
        )
    if previous is not None:
        check_restart(given, facts, previous)
    settings = (dict(defaults) if previous is None else previous.settings()) | given
    config = assemble(kind, {"steps": 0} | settings | dict(decided), facts)
    if epochs is None and "steps" in settings:
        return config
    steps = steps_of(epochs or kind.DEFAULT_EPOCHS, num_examples, config.training.batch_size)
    return dataclasses.replace(config, training=dataclasses.replace(config.training, steps=steps))


def assemble(
    kind: type[RunConfig], settings: Mapping[str, Any], facts: Mapping[str, Any]
) -> RunConfig:
    """Makes a configuration from settings by name. Other fields have their defaults.

    Raises:
        ValueError: a setting is invalid or missing.
    """
    sections = {}
    for name, section in kind.SECTIONS.items():
        fields = dataclasses.fields(section)
        values = {field.name: settings[field.name] for field in fields if field.name in settings}
        for field in fields:
            if field.metadata["path"] and values.get(field.name) not in (None, "", field.default):
                values[field.name] = os.path.abspath(local_path(values[field.name]))
        sections[name] = section(**values)
    return kind(**sections, **facts)


def steps_of(epochs: int, num_examples: int, batch_size: int) -> int:
    """Returns the number of steps in which every example is used at least `epochs` times.

    Raises:
        ValueError: there are no examples.
    """
    if num_examples < 1:
        raise ValueError(
            "The data set must have at least 1 training image. Received: "
            f"num_examples={num_examples}. Prepare it again."
        )
    return -(-epochs * num_examples // batch_size)


def check_known(kind: type[RunConfig], given: Mapping[str, Any]) -> None:
    """Raises ValueError if a name is not a setting of the system."""
    known = {field.name for field in flag_fields(kind)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(
            f"Unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}, epochs."
        )


def check_restart(given: Mapping[str, Any], facts: Mapping[str, Any], previous: RunConfig) -> None:
    """Raises ValueError if flags or data contradict the continued run. The error lists all."""
    saved = previous.settings()
    conflicts = [
        f"--{field.name}={as_text(given[field.name])} against {as_text(saved[field.name])}"
        for field in flag_fields(type(previous))
        if not field.metadata["changeable"]
        and field.name in given
        and given[field.name] != saved[field.name]
    ]
    for name, fact in facts.items():
        new, old = fact.to_json(), getattr(previous, name).to_json()
        conflicts += [
            f"`{key}` of the data set, {_shortened(new.get(key))} against {_shortened(value)}"
            for key, value in old.items()
            if new.get(key) != value
        ]
    if conflicts:
        raise ValueError(
            "The model directory was started with other settings than those given now "
            "(given against config.json):\n  " + "\n  ".join(conflicts) + "\n"
            "To continue that run, leave these flags out or use its data set. To start a new run, "
            "use another --model_dir."
        )


def _shortened(value: Any, length: int = 60) -> str:
    text = json.dumps(value)
    return text if len(text) <= length else f"{text[:length]}..."

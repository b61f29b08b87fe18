"""A setting is one field of a frozen dataclass, with help text, limits and restart rule.

Its flag (`setting_flags.py`), its checks and its rule for a restart (`merging.py`) are derived from
the field. So a new setting is one field in a system's configuration.
"""

import dataclasses
import math
from typing import Any


def setting(
    help_text: str,
    default: Any = dataclasses.MISSING,
    *,
    flag: bool = True,
    changeable: bool = False,
    path: bool = False,
    minimum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declares a field.

    Args:
        help_text: help of its flag.
        default: value if the flag is not given.
        flag: whether it has a flag; otherwise the prepared data set decides the value, or what
            another setting names.
        changeable: whether a restart may change the value in config.json.
        path: whether it is a local path, which may differ between the workers of a run. Any value
            but the default is made absolute.
        minimum: smallest allowed value; in a tuple, of every entry.
        above: values must be greater than this.
        below: values must be less than this.
        maximum: largest allowed value.
        choices: allowed values.
    """
    rules = {
        "minimum": minimum,
        "above": above,
        "below": below,
        "maximum": maximum,
        "choices": choices,
    }
    metadata = {"help": help_text, "flag": flag, "changeable": changeable, "path": path, **rules}
    return dataclasses.field(default=default, metadata=metadata)


def check_fields(section: Any) -> None:
    """Checks type and limits of all fields. Converts lists to tuples, and ints for float fields."""
    for field in dataclasses.fields(section):
        value = _as_type(field, getattr(section, field.name))
        object.__setattr__(section, field.name, value)
        _check_limits(field, value)


_OPTIONAL = {int | None: int, str | None: str, tuple[int, ...] | None: tuple[int, ...]}


def optional_type(field: dataclasses.Field) -> type:
    """Returns the type of a field, without None."""
    return _OPTIONAL.get(field.type, field.type)


def _as_type(field: dataclasses.Field, value: Any) -> Any:
    """Converts a value to the field's type. A value of an int or bool field must have it."""
    if value is None and field.type in _OPTIONAL:
        return None
    if is_widths(field):
        if isinstance(value, (list, tuple)) and value and all(type(v) is int for v in value):
            return tuple(value)
        raise ValueError(
            f"`{field.name}` must be whole numbers, at least one. Received: {field.name}={value!r}."
        )
    kind = optional_type(field)
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
    minimum, above, below, maximum, choices = (
        field.metadata[rule] for rule in ("minimum", "above", "below", "maximum", "choices")
    )
    smallest = min(value) if isinstance(value, tuple) else value
    rules = [
        (minimum is not None and smallest < minimum, f"at least {minimum}"),
        (above is not None and smallest <= above, f"greater than {above}"),
        (below is not None and value >= below, f"less than {below}"),
        (maximum is not None and value > maximum, f"at most {maximum}"),
        (bool(choices) and value not in choices, f"one of {', '.join(choices)}"),
        (value == "", "a path"),
    ]
    for broken, rule in rules:
        if broken:
            raise ValueError(
                f"`{field.name}` must be {rule}. Received: {field.name}={as_text(value)}."
            )


def is_widths(field: dataclasses.Field) -> bool:
    """Returns whether a field holds a tuple of whole numbers, written as a comma list."""
    return optional_type(field) == tuple[int, ...]


def as_text(value: Any) -> str:
    """Returns a value as text, as a flag takes it."""
    if isinstance(value, tuple):
        return ",".join(str(v) for v in value)
    return str(value).lower() if isinstance(value, bool) else str(value)

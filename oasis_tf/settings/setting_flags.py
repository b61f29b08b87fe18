"""Defines a flag for every setting, and finds out which were given.

All flags default to None, so that a restart can tell a flag that is not given from a flag that is
given with its default.
"""

import dataclasses
import sys
from collections.abc import Collection, Sequence
from typing import Any

from absl import flags

from oasis_tf.settings import path_flags
from oasis_tf.settings.fields import as_text, is_widths, optional_type
from oasis_tf.settings.run_config import RunConfig


class _WidthsParser(flags.ArgumentParser):
    """Parses "16,8,4" to (16, 8, 4)."""

    syntactic_help = "comma separated whole numbers"

    def parse(self, argument: str | tuple[int, ...]) -> tuple[int, ...]:
        if isinstance(argument, tuple):
            return argument
        try:
            return tuple(int(part) for part in argument.split(","))
        except ValueError:
            raise ValueError("must be whole numbers separated by commas, as in 2,2,4") from None

    def flag_type(self) -> str:
        return "comma separated list of integers"


def flag_fields(kind: type[RunConfig]) -> list[dataclasses.Field]:
    """Returns the fields of all sections that have a flag of the same name."""
    fields = [f for section in kind.SECTIONS.values() for f in dataclasses.fields(section)]
    return [field for field in fields if field.metadata["flag"]]


def group_titles(kind: type[RunConfig]) -> dict[str, str]:
    """Returns the title of the group of every setting: the first line on the class it stands in."""
    titles: dict[str, str] = {}
    for section in kind.SECTIONS.values():
        for base in reversed(section.__mro__):
            for name in vars(base).get("__annotations__", {}):
                titles.setdefault(name, (base.__doc__ or "").splitlines()[0].rstrip("."))
    return titles


def define_setting_flags(
    kind: type[RunConfig],
    flag_values: flags.FlagValues = flags.FLAGS,
    without: Collection[str] = (),
) -> None:
    """Defines --epochs and a flag for every setting except those in `without`.

    All flags default to None, see above. Their help texts state the defaults of the settings.
    """
    define_fields([f for f in flag_fields(kind) if f.name not in without], flag_values)
    if kind.DEFAULT_EPOCHS:
        flags.DEFINE_integer(
            "epochs",
            None,
            "Passes over the training images; use it instead of --steps. (default: "
            f"{kind.DEFAULT_EPOCHS})",
            flag_values=flag_values,
        )


def define_train_flags(kind: type[RunConfig], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of the train command, except --system."""
    define_setting_flags(kind, flag_values)
    path_flags.define_path(
        "model_dir",
        None,
        "Directory of the run, for configuration, checkpoints, samples and events. An existing run "
        "is continued, and config.json gives the values of flags that are left out.",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "dry_run",
        False,
        "Print the configuration, parameter counts and a memory estimate, then exit.",
        flag_values=flag_values,
    )


def define_fields(
    fields: Collection[dataclasses.Field], flag_values: flags.FlagValues = flags.FLAGS
) -> None:
    """Defines a flag for each given field, as `define_setting_flags` does."""
    for field in fields:
        _define_flag(field, flag_values)


def section_settings(previous: Any, flag_values: flags.FlagValues = flags.FLAGS) -> Any:
    """Returns a copy of a section with the values of the given flags."""
    given = {name: flag_values[name].value for name in vars(previous)}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(previous, **given)


def _define_flag(field: dataclasses.Field, flag_values: flags.FlagValues) -> None:
    name, choices, help_text = field.name, field.metadata["choices"], field.metadata["help"]
    if field.default not in (dataclasses.MISSING, None):
        help_text += f" (default: {as_text(field.default)})"
    if is_widths(field):
        serializer = flags.ListSerializer(",")
        flags.DEFINE(_WidthsParser(), name, None, help_text, flag_values, serializer)
    elif field.metadata["path"]:
        path_flags.define_path(name, None, help_text, flag_values=flag_values)
    elif choices:
        flags.DEFINE_enum(name, None, list(choices), help_text, flag_values=flag_values)
    else:
        define = {
            bool: flags.DEFINE_boolean,
            float: flags.DEFINE_float,
            str: flags.DEFINE_string,
        }.get(optional_type(field), flags.DEFINE_integer)
        define(name, None, help_text, flag_values=flag_values)


def given_flags(
    kind: type[RunConfig],
    flag_values: flags.FlagValues = flags.FLAGS,
    command_line: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Returns the settings that were given as flags by name, `epochs` included.

    Of --steps and --epochs, the one on the command line overrides the one in a flagfile.

    Args:
        kind: class of the configuration.
        flag_values: flags that `define_setting_flags` defined.
        command_line: the arguments before flagfiles are expanded; default: `sys.argv[1:]`.

    Raises:
        ValueError: both --steps and --epochs are given, and neither overrides the other.
    """
    names = [field.name for field in flag_fields(kind)]
    names += ["epochs"] if kind.DEFAULT_EPOCHS else []
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


def given_settings(
    kind: type[RunConfig],
    flag_values: flags.FlagValues = flags.FLAGS,
    without: Collection[str] = (),
) -> dict[str, Any]:
    """Returns the settings given as flags by name, except `steps`, `epochs` and `without`."""
    names = [f.name for f in flag_fields(kind) if f.name not in {"steps", *without}]
    given = {name: flag_values[name].value for name in names}
    return {name: value for name, value in given.items() if value is not None}


def flagfile_settings(kind: type[RunConfig], arguments: Sequence[str]) -> dict[str, Any]:
    """Returns the settings in the flags of a flagfile; see `given_settings`."""
    return given_settings(kind, read_train_flags(kind, arguments))


def read_train_flags(kind: type[RunConfig], arguments: Sequence[str]) -> flags.FlagValues:
    """Parses arguments of the train command, with flagfiles expanded.

    Raises:
        absl.flags.Error: a flag is unknown or has an invalid value.
    """
    flag_values = flags.FlagValues()
    flags.DEFINE_string("system", None, "Flag of the train command.", flag_values=flag_values)
    define_train_flags(kind, flag_values)
    flag_values(["train", *arguments])
    return flag_values


def _typed_flags(command_line: Sequence[str]) -> set[str]:
    return {a.lstrip("-").partition("=")[0] for a in command_line if a.startswith("-")}

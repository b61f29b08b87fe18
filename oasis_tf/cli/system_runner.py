"""Runs a command whose flags depend on the system: `train` and the systems' own commands.

If `--model_dir` holds a model, the system is that of the model. Otherwise `--system` chooses it, on
the command line or in a flagfile. Only the flags of this system are defined. Another system's flag
is refused, and the error names the systems that have it. `--help` lists the essential flags first,
then the flags of all systems, in groups.
"""

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence

from absl import flags

from oasis_tf import pretrained, systems
from oasis_tf.cli import runner
from oasis_tf.cli.flagfiles import expand_flagfiles
from oasis_tf.io.paths import local_path
from oasis_tf.settings import setting_flags
from oasis_tf.settings.run_config import CONFIG_FILE
from oasis_tf.systems.system import System

DefineFlags = Callable[[System, flags.FlagValues], None]


def run_ability(ability: str, reads_model: bool = False) -> None:
    """Runs the command of an ability of the chosen system, and exits; see `runner.run`.

    The module of the ability has `define_flags(flag_values)` and `main(argv)`. A command that only
    reads models (`reads_model`) also takes the names of shipped ones.
    """

    def define_flags(system: System, flag_values: flags.FlagValues) -> None:
        system.ability(ability).define_flags(flag_values)

    def main(argv: list[str], system: System) -> None:
        system.ability(ability).main(argv)

    run(main, define_flags, systems.with_ability(ability), reads_model)


def run(
    main: Callable[[list[str], System], None],
    define_flags: DefineFlags,
    names: Sequence[str] = systems.NAMES,
    reads_model: bool = False,
    essential: Collection[str] = (),
) -> None:
    """Runs a command for the system that the command line chooses, and exits; see `runner.run`.

    Args:
        main: called with a list of the program name, and the system, after the flags are parsed.
        define_flags: defines the flags that the command has with a system.
        names: systems whose flags `--help` lists.
        reads_model: whether --model_dir may name a shipped model.
        essential: flags that `--help` lists first.
    """
    try:
        arguments = expand_flagfiles(sys.argv[1:])
        if runner.HELP_FLAGS.intersection(arguments):
            _print_help(define_flags, names, essential)
            sys.exit(0)
        system = chosen_system(arguments, reads_model)
        _check_flags(arguments, system, define_flags, names)
    except (ValueError, OSError) as error:
        runner.fail(error)
    runner.run(
        lambda argv: main(argv, system),
        lambda flag_values: _define(system, define_flags, flag_values),
    )


def chosen_system(arguments: Sequence[str], reads_model: bool = False) -> System:
    """Returns the system that a command line chooses.

    Args:
        arguments: the command line without the program name, with flagfiles expanded.
        reads_model: as in `run`.

    Raises:
        ValueError: there is no such system, or the model directory is of another one.
    """
    given = _value(arguments, "system")
    model_dirs = _value(arguments, "model_dir") or _value(arguments, "model_dirs") or ""
    model_dir = local_path(model_dirs.split(",")[0])
    if model_dir and reads_model:
        model_dir = pretrained.find(model_dir)
    if not model_dir or not os.path.exists(os.path.join(model_dir, CONFIG_FILE)):
        return systems.get(given or systems.DEFAULT)
    found = systems.of_model_dir(model_dir)
    if given not in (None, found.name):
        raise ValueError(
            f"`system` must be that of the model directory. Received: --system={given} for "
            f"{model_dir}, which holds a model of {found.name}. Leave --system out, or use another "
            "--model_dir."
        )
    return found


def _value(arguments: Sequence[str], name: str) -> str | None:
    """Returns the last value of a string flag, or None if the flag is not given."""
    value = None
    for number, argument in enumerate(arguments, start=1):
        if argument == "--":
            break
        flag, equals, text = argument.partition("=")
        if flag in (f"--{name}", f"-{name}"):
            value = text if equals else "".join(arguments[number : number + 1])
    return value


def _define(system: System, define_flags: DefineFlags, flag_values: flags.FlagValues) -> None:
    flags.DEFINE_enum(
        "system",
        None,
        list(systems.NAMES),
        f"System, the kind of model. (default: that of --model_dir, else {systems.DEFAULT})",
        flag_values=flag_values,
    )
    define_flags(system, flag_values)


def _flags_of(system: System, define_flags: DefineFlags) -> flags.FlagValues:
    flag_values = flags.FlagValues()
    _define(system, define_flags, flag_values)
    return flag_values


def _check_flags(
    arguments: Sequence[str], system: System, define_flags: DefineFlags, names: Sequence[str]
) -> None:
    """Refuses flags that only other systems have."""
    own, others = _flags_of(system, define_flags), {}
    for argument in arguments:
        if argument == "--":
            break
        flag = argument.lstrip("-").partition("=")[0]
        if not argument.startswith("-") or _has(own, flag):
            continue
        for name in names:
            others.setdefault(name, _flags_of(systems.get(name), define_flags))
        having = [name for name, values in others.items() if _has(values, flag)]
        if having:
            raise ValueError(
                f"`--{flag}` must be a flag of the system. Received: --{flag} with "
                f"--system={system.name}, which does not have it. Systems that do: "
                f"{', '.join(having)}. Leave --{flag} out, or choose another --system."
            )


def _has(flag_values: flags.FlagValues, flag: str) -> bool:
    return flag in flag_values or flag.removeprefix("no") in flag_values


def _print_help(
    define_flags: DefineFlags, names: Sequence[str], essential: Collection[str]
) -> None:
    """Prints the flags of the command: the essential ones, those of each system, common ones."""
    print((sys.modules["__main__"].__doc__ or "").strip())
    common, first = _common_flags(), _flags_of(systems.get(names[0]), define_flags)
    runner.define_common_flags(first)
    _print_groups(first, dict.fromkeys(essential, "Essential flags"))
    _print_groups(common, {flag: "Every command" for flag in common if flag not in essential})
    for name in names:
        system = systems.get(name)
        print(f"\n--system={name}: {system.title}")
        values, titles = _flags_of(system, define_flags), setting_flags.group_titles(system.config)
        own = {flag: "Flags" for flag in sorted(values) if flag not in titles}
        _print_groups(values, {k: v for k, v in (own | titles).items() if k not in essential})


def _common_flags() -> flags.FlagValues:
    flag_values = flags.FlagValues()
    runner.define_common_flags(flag_values)
    return flag_values


def _print_groups(flag_values: flags.FlagValues, titles: Mapping[str, str]) -> None:
    """Prints flags under their titles."""
    titles = {flag: title for flag, title in titles.items() if flag in flag_values}
    for flag, title in titles.items():
        flag_values.register_key_flag_for_module(title, flag_values[flag])
    for title in dict.fromkeys(titles.values()):
        print(flag_values.module_help(title))

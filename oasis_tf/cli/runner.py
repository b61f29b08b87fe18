"""Runs a command: parses flags, prints errors as one clear message, sets the exit code.

A command is a module with `main(argv)` and a function that defines its flags. Flags are defined
when the command runs, not at import: a process can import two commands that both define `--seed`.

    def define_flags(flag_values: flags.FlagValues) -> None:
        flags.DEFINE_string("model_dir", None, "Model directory.", flag_values=flag_values)

    def main(argv: list[str]) -> None:
        from oasis_tf.data import preparation  # here: it loads TensorFlow; flags are checked first
        preparation.prepare(..., flags.FLAGS.output)

    if __name__ == "__main__":
        runner.run(main, define_flags)

`cli/system_runner.py` runs commands whose flags depend on the system.

This module does not import TensorFlow. Unless `TF_CPP_MIN_LOG_LEVEL` is set, it silences what
TensorFlow's libraries log below "error", and all that they log while they are loaded.
"""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging

from oasis_tf.cli import leaving, quiet_import
from oasis_tf.cli.flagfiles import expand_flagfiles, listed_configs

quiet_import.install()  # here: processes that a command starts import this module, too

HELP_FLAGS = {"--help", "-help", "-?", "--helpshort", "-helpshort", "--helpfull", "-helpfull"}
INTERRUPTED = 130  # the shell's exit code for Ctrl-C

MainFunction = Callable[[list[str]], None]
DefineFlags = Callable[[flags.FlagValues], None]


def run(main: MainFunction, define_flags: DefineFlags | None = None) -> None:
    """Runs a command and exits with code 0 (done), 1 (failed) or 130 (interrupted).

    `ValueError`, `OSError`, `FloatingPointError` and TensorFlow's run-time errors are printed as
    `ERROR: <message>` on standard error; `--show_traceback` adds the stack trace. Any other
    exception is a defect of the program and keeps its stack trace. `--help` lists all flags of the
    command. Arguments that are not flags are refused.

    Args:
        main: called with a list of the program name, after the flags are parsed.
        define_flags: defines the command's flags on its argument, a `FlagValues`.
    """
    if define_flags is not None:
        define_own(define_flags, flags.FLAGS)
    define_own(define_common_flags, flags.FLAGS)
    with leaving.at_once():
        try:
            app.run(lambda argv: _guarded(main, argv), flags_parser=_parse_flags)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(INTERRUPTED)


def define_common_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags of every command. `--flagfile` is only for --help: see `flagfiles.py`."""
    flags.DEFINE_string(
        "flagfile",
        "",
        "File of flags, one --name=value per line. It is searched in the working directory, then "
        f"among the shipped ones: {listed_configs()}.",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "show_traceback",
        False,
        "Print the stack trace of an error.",
        flag_values=flag_values,
    )


def define_own(define_flags: DefineFlags, flag_values: flags.FlagValues) -> None:
    """Defines flags and declares them the running program's own, so that --help lists them."""
    before = set(flag_values)
    define_flags(flag_values)
    for name in set(flag_values) - before:
        flag_values.register_key_flag_for_module(sys.argv[0], flag_values[name])


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line as `app.parse_flags_with_usage` does, but --help exits with 0."""
    try:
        arguments = expand_flagfiles(argv[1:])
    except (ValueError, OSError) as error:
        fail(error)
    try:
        rest = app.parse_flags_with_usage([argv[0], *arguments])
    except SystemExit:
        if HELP_FLAGS.intersection(arguments):
            sys.exit(0)
        raise
    if len(rest) > 1:
        fail(
            ValueError(
                f"Every argument must be a flag, `--name=value` (`--name` or `--noname` for a "
                f"switch). Received: {' '.join(rest[1:])}."
            )
        )
    return rest


def _guarded(main: MainFunction, argv: list[str]) -> None:
    """Calls `main`. Errors that a user can correct become one message and exit code 1."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # TensorFlow logs every file that it writes
    try:
        main(argv)
    except Exception as error:
        if not _is_explained(error):
            raise
        if flags.FLAGS.show_traceback:
            sys.excepthook(type(error), error, error.__traceback__)
        fail(error)


def _is_explained(error: Exception) -> bool:
    """Returns whether the message says what to do: ours do, and TensorFlow's (disk or memory full).

    Training raises `FloatingPointError` for a loss that is not finite.
    """
    if isinstance(error, (ValueError, OSError, FloatingPointError)):
        return True
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(error, tensorflow.errors.OpError)


def fail(error: Exception) -> NoReturn:
    """Prints the message of an error and exits with code 1."""
    print(f"ERROR: {error}", file=sys.stderr)
    sys.exit(1)

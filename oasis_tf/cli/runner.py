"""Runs a command: flags parsed, errors as one clear line, exit codes.

A command is a module with a `main(argv)`, and a function that defines its flags when the command
runs, never at import (two commands imported by one process would define `--seed` twice):

    def define_flags(flag_values: flags.FlagValues) -> None:
        flags.DEFINE_string("model_dir", None, "Model directory.", flag_values=flag_values)

    def main(argv: list[str]) -> None:
        from oasis_tf.data import preparation  # TensorFlow is loaded here: bad flags answer at once
        preparation.prepare(..., flags.FLAGS.output)

    if __name__ == "__main__":
        runner.run(main, define_flags)

Commands whose flags depend on the system run by `cli/system_runner.py`.

Importing this module does not import TensorFlow; import it before TensorFlow, whose native
log lines below "error" it silences unless `TF_CPP_MIN_LOG_LEVEL` is set.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging

from oasis_tf.cli.flagfiles import expand_flagfiles, listed_configs

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

HELP_FLAGS = {"--help", "-help", "-?", "--helpshort", "-helpshort", "--helpfull", "-helpfull"}
INTERRUPTED = 130  # the shell's exit code for Ctrl-C

MainFunction = Callable[[list[str]], None]
DefineFlags = Callable[[flags.FlagValues], None]


def run(main: MainFunction, define_flags: DefineFlags | None = None) -> None:
    """Runs a command and exits: 0 done, 1 failed, 130 interrupted.

    `ValueError`, `OSError`, `FloatingPointError` and TensorFlow's run-time errors become
    `ERROR: <message>` on standard error (with `--show_traceback`, the stack trace before it); any
    other exception is a defect of the program and keeps its stack trace. `--help` lists all flags
    of the command, `flagfiles.find_flagfile` looks up `--flagfile`, and arguments that are not
    flags are refused.

    Args:
        main: called with the program name alone, once the flags are parsed.
        define_flags: defines the command's flags on the `FlagValues` it is given.
    """
    if define_flags is not None:
        define_own(define_flags, flags.FLAGS)
    define_own(define_common_flags, flags.FLAGS)
    try:
        app.run(lambda argv: _guarded(main, argv), flags_parser=_parse_flags)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def define_common_flags(flag_values: flags.FlagValues) -> None:
    """Defines what every command has; `--flagfile` for --help only, see `expand_flagfiles`."""
    flags.DEFINE_string(
        "flagfile",
        "",
        "File of flags, one --name=value a line; looked up in the working directory, then among "
        f"the shipped ones: {listed_configs()}.",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "show_traceback",
        False,
        "Show where in the program an error arose.",
        flag_values=flag_values,
    )


def define_own(define_flags: DefineFlags, flag_values: flags.FlagValues) -> None:
    """Defines flags and declares them the running program's own, which is what --help lists."""
    before = set(flag_values)
    define_flags(flag_values)
    for name in set(flag_values) - before:
        flag_values.register_key_flag_for_module(sys.argv[0], flag_values[name])


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; like `app.parse_flags_with_usage`, but asked-for help exits 0."""
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
    """Calls `main`, turning the errors a user can mend into one message and exit code 1."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # TensorFlow logs each file that it writes
    try:
        main(argv)
    except Exception as error:
        if not _is_explained(error):
            raise
        if flags.FLAGS.show_traceback:
            sys.excepthook(type(error), error, error.__traceback__)
        fail(error)


def _is_explained(error: Exception) -> bool:
    """Whether the message says what to do: ours do, and so do TensorFlow's (full disk, memory).

    A `FloatingPointError` is how training reports a loss that is no longer finite.
    """
    if isinstance(error, (ValueError, OSError, FloatingPointError)):
        return True
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(error, tensorflow.errors.OpError)


def fail(error: Exception) -> NoReturn:
    """Prints the message of an error and exits with code 1."""
    print(f"ERROR: {error}", file=sys.stderr)
    sys.exit(1)

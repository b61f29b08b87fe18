"""What every command shares: flagfiles found by name, errors as one clear line, exit codes.

A command is a module with a `main(argv)`, and a function that defines its flags when the command
runs, never at import (two commands imported by one process would define `--seed` twice):

    def define_flags(flag_values: flags.FlagValues) -> None:
        flags.DEFINE_string("model_dir", None, "Model directory.", flag_values=flag_values)

    def main(argv: list[str]) -> None:
        from oasis_tf.training import loop  # TensorFlow is loaded here: bad flags answer at once
        loop.train(..., flags.FLAGS.model_dir)

    if __name__ == "__main__":
        commandline.run(main, define_flags)

Importing this module does not import TensorFlow; import it before TensorFlow, whose native
log lines below "error" it silences unless `TF_CPP_MIN_LOG_LEVEL` is set.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags, logging

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_PACKAGE_DIR = Path(__file__).resolve().parents[1]
_FLAG_LINE = re.compile(r"--?\w[\w-]*(=.*)?")
_HELP_FLAGS = {"--help", "-help", "-?", "--helpshort", "-helpshort", "--helpfull", "-helpfull"}
INTERRUPTED = 130  # the shell's exit code for Ctrl-C

MainFunction = Callable[[list[str]], None]
DefineFlags = Callable[[flags.FlagValues], None]


def shipped_configs() -> dict[str, Path]:
    """Returns the shipped flagfiles, name (such as "ade.flags") to path, sorted by name.

    Those of the ablations are called "ablations/NAME.flags". An installed wheel holds them inside
    the package (`setup.py` puts them there); in a checkout or an editable install they lie beside
    it.
    """
    for folder in (_PACKAGE_DIR / "configs", _PACKAGE_DIR.parent / "configs"):
        files = [*sorted(folder.glob("*.flags")), *sorted(folder.glob("ablations/*.flags"))]
        if files:
            return {path.relative_to(folder).as_posix(): path for path in files}
    return {}


def _listed_configs() -> str:
    """Returns the names of the shipped flagfiles, those of the ablations in short."""
    names = list(shipped_configs())
    listed = [name for name in names if "/" not in name]
    if len(listed) < len(names):
        listed.append(f"ablations/NAME.flags ({len(names) - len(listed)} of them)")
    return ", ".join(listed)


def find_flagfile(name: str, beside: Path | None = None) -> Path:
    """Finds a flagfile: as a path from the working directory, then among the shipped ones.

    Args:
        name: what follows `--flagfile=`; the folder of a shipped ablation may be left out.
        beside: folder looked in first; for a flagfile named inside another one, its folder.

    Raises:
        ValueError: there is no such file; lists the shipped ones.
    """
    path = Path(name).expanduser()
    candidates = [path] if beside is None else [beside / path, path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    shipped = shipped_configs()
    for known in (name, f"ablations/{name}"):
        if known in shipped:
            return shipped[known]
    raise ValueError(
        f"`--flagfile={name}` is neither a file (working directory: {Path.cwd()}) nor a shipped "
        f"flagfile. Shipped: {_listed_configs() or 'none found'}."
    )


def expand_flagfiles(arguments: Sequence[str]) -> list[str]:
    """Replaces every `--flagfile=NAME` or `--flagfile NAME` by the flags of that file.

    Args:
        arguments: the command line without the program name. What follows `--` stays as it is.

    Raises:
        ValueError: unknown flagfile, a line that is not `--name=value`, or a circle of flagfiles.
    """
    expanded: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*expanded, argument, *rest]
        name, equals, value = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            expanded.append(argument)
            continue
        if not equals:
            value = rest.pop(0) if rest else ""
        if not value:
            raise ValueError("`--flagfile` needs a file name, as in `--flagfile=ade.flags`.")
        expanded.extend(_read_flagfile(find_flagfile(value), opened_from=()))
    return expanded


def _read_flagfile(path: Path, opened_from: tuple[Path, ...]) -> list[str]:
    """Returns the flags of a file, those of flagfiles named in it included."""
    path = path.resolve()
    if path in opened_from:
        chain = " -> ".join(str(p) for p in (*opened_from, path))
        raise ValueError(f"Flagfiles must not include each other in a circle: {chain}.")
    found: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith(("#", "//")):
            continue
        if not _FLAG_LINE.fullmatch(line):
            raise ValueError(
                f"{path}, line {number}: must be one `--name=value` (comments stand on lines of "
                f"their own that begin with #). Received: {line!r}."
            )
        name, _, value = line.partition("=")
        if name.lstrip("-") == "flagfile":
            nested = find_flagfile(value.strip(), beside=path.parent)
            found.extend(_read_flagfile(nested, (*opened_from, path)))
        else:
            found.append(line)
    return found


def run(main: MainFunction, define_flags: DefineFlags | None = None) -> None:
    """Runs a command and exits: 0 done, 1 failed, 130 interrupted.

    `ValueError`, `OSError`, `FloatingPointError` and TensorFlow's run-time errors become
    `ERROR: <message>` on standard error (with `--show_traceback`, the stack trace before it); any
    other exception is a defect of the program and keeps its stack trace. `--help` lists all flags
    of the command, `--flagfile` is looked up by `find_flagfile`, and arguments that are not flags
    are refused.

    Args:
        main: called with the program name alone, once the flags are parsed.
        define_flags: defines the command's flags on the `FlagValues` it is given.
    """
    if define_flags is not None:
        _define_as_own(define_flags, flags.FLAGS)
    _define_as_own(_define_common_flags, flags.FLAGS)
    try:
        app.run(lambda argv: _guarded(main, argv), flags_parser=_parse_flags)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def define_checkpoint_flag(flag_values: flags.FlagValues) -> None:
    """Defines --checkpoint for commands that use a trained model; `checkpoint` reads it."""
    flags.DEFINE_string(
        "checkpoint",
        None,
        "Checkpoint to use: a step, or best by the evaluations while training (default: the "
        "newest).",
        flag_values=flag_values,
    )


def define_label_format_flag(flag_values: flags.FlagValues) -> None:
    """Defines `--label_format` for commands that read label PNGs."""
    flags.DEFINE_enum(
        "label_format",
        "auto",
        ["auto", "ids", "colors"],
        "What label PNGs hold. auto: colours in RGB and RGBA files, raw ids in others.",
        flag_values=flag_values,
    )


def checkpoint(text: str | None) -> int | str | None:
    """Returns what `OASIS.load` takes for a value of --checkpoint.

    Raises:
        ValueError: neither a step nor "best".
    """
    if text in (None, "best"):
        return text
    if not text.isdecimal():
        raise ValueError(f"`checkpoint` must be a step or best. Received: checkpoint={text}.")
    return int(text)


def _define_common_flags(flag_values: flags.FlagValues) -> None:
    """Defines what every command has; `--flagfile` for --help only, see `expand_flagfiles`."""
    flags.DEFINE_string(
        "flagfile",
        "",
        "File of flags, one --name=value a line; looked up in the working directory, then among "
        f"the shipped ones: {_listed_configs()}.",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "show_traceback",
        False,
        "Show where in the program an error arose.",
        flag_values=flag_values,
    )


def _define_as_own(define_flags: DefineFlags, flag_values: flags.FlagValues) -> None:
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
        _fail(error)
    try:
        rest = app.parse_flags_with_usage([argv[0], *arguments])
    except SystemExit:
        if _HELP_FLAGS.intersection(arguments):
            sys.exit(0)
        raise
    if len(rest) > 1:
        _fail(
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
        _fail(error)


def _is_explained(error: Exception) -> bool:
    """Whether the message says what to do: ours do, and so do TensorFlow's (full disk, memory).

    A `FloatingPointError` is how training reports a loss that is no longer finite.
    """
    if isinstance(error, (ValueError, OSError, FloatingPointError)):
        return True
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(error, tensorflow.errors.OpError)


def _fail(error: Exception) -> None:
    print(f"ERROR: {error}", file=sys.stderr)
    sys.exit(1)

"""Finds flagfiles by name, shipped ones too, and expands them to their flags."""

import re
from collections.abc import Sequence
from pathlib import Path

from oasis_tf.io.paths import local_path
from oasis_tf.io.text_files import read_text

_PACKAGE_DIR = Path(__file__).resolve().parents[1]
_FLAG_LINE = re.compile(r"--?\w[\w-]*(=.*)?")


def shipped_configs() -> dict[str, Path]:
    """Returns the shipped flagfiles, name (such as "ade.flags") to path, sorted by name.

    Those of the ablations are called "ablations/NAME.flags". A wheel has them inside the package
    (see `setup.py`); in a checkout or an editable install their folder is next to the package.
    """
    for folder in (_PACKAGE_DIR / "configs", _PACKAGE_DIR.parent / "configs"):
        files = [*sorted(folder.glob("*.flags")), *sorted(folder.glob("ablations/*.flags"))]
        if files:
            return {path.relative_to(folder).as_posix(): path for path in files}
    return {}


def listed_configs() -> str:
    """Returns the names of the shipped flagfiles; those of the ablations are only counted."""
    names = list(shipped_configs())
    listed = [name for name in names if "/" not in name]
    if len(listed) < len(names):
        listed.append(f"ablations/NAME.flags ({len(names) - len(listed)} of them)")
    return ", ".join(listed)


def find_flagfile(name: str, beside: Path | None = None) -> Path:
    """Finds a flagfile: as a path from the working directory, then among the shipped ones.

    Args:
        name: value of `--flagfile`; the folder of a shipped ablation may be left out.
        beside: folder to search first: that of the flagfile which includes this one.

    Raises:
        ValueError: there is no such file. The error lists the shipped ones.
    """
    path = Path(local_path(name))
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
        f"flagfile. Shipped: {listed_configs() or 'none found'}."
    )


def published_scores(path: Path) -> tuple[str | None, str | None]:
    """Returns the published scores in the heading of a flagfile, and the first table in it.

    The scores are stated only there: `# Expected score: FID 28.3, mIoU 48.8 as published.` or
    `# Published score: SIFID 0.08 (not measured here).`
    """
    lines = read_text(path).splitlines()
    heading = " ".join(line.strip("# ") for line in lines if line.startswith("#"))
    end = r"(?: as published| \(not measured here\))"
    scores = re.search(rf"(?:Expected|Published) score: (.+?){end}", heading)
    table = re.search(r"table \w+(\.\d+)?", heading)
    return scores and scores[1], table and table[0]


def expand_flagfiles(arguments: Sequence[str]) -> list[str]:
    """Replaces every `--flagfile=NAME` or `--flagfile NAME` by the flags of that file.

    Args:
        arguments: the command line without the program name. Arguments after `--` stay unchanged.

    Raises:
        ValueError: a flagfile is unknown, has a line that is not `--name=value`, or includes
            itself.
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
    """Returns the flags of a file and of the flagfiles that it includes."""
    path = path.resolve()
    if path in opened_from:
        chain = " -> ".join(str(p) for p in (*opened_from, path))
        raise ValueError(f"Flagfiles must not include each other in a circle: {chain}.")
    found: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith(("#", "//")):
            continue
        if not _FLAG_LINE.fullmatch(line):
            raise ValueError(
                f"{path}, line {number}: must be one `--name=value`. Comments need separate lines "
                f"that begin with #. Received: {line!r}."
            )
        name, _, value = line.partition("=")
        if name.lstrip("-") == "flagfile":
            nested = find_flagfile(value.strip(), beside=path.parent)
            found.extend(_read_flagfile(nested, (*opened_from, path)))
        else:
            found.append(line)
    return found

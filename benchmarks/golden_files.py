"""Recordings of PyTorch models: their files, their parts, and gradients to compare with them.

Layouts are PyTorch's. `tests/golden/README.md` lists the entries.
"""

import ast
import re
import zipfile

import numpy as np


def load(path, what="a recording", wanted=("meta",)):
    """A recording from its file: dict from names to NumPy arrays.

    Args:
        path: of the .npz file.
        what: of whom, in errors.
        wanted: names of entries that it must have.

    Raises:
        ValueError: the file is something else.
        OSError: it cannot be read.
    """
    recording = {}
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            recording = dict(np.load(path))
    missing = sorted(set(wanted) - set(recording))
    if missing:
        raise ValueError(
            f"{path} must be {what} (tests/golden/README.md). It lacks {', '.join(missing)}."
        )
    return recording


def meta(recording):
    """The settings of a recording, by name."""
    return ast.literal_eval(str(recording["meta"]))


def part(recording, prefix):
    """What a recording holds under ``prefix/``, by its names there."""
    start = f"{prefix}/"
    return {k.removeprefix(start): v for k, v in recording.items() if k.startswith(start)}


def prefixed(prefix, values):
    """The reverse of `part`: entries under ``prefix/``."""
    return {f"{prefix}/{name}": value for name, value in values.items()}


def nhwc(array):
    """[B, C, H, W] as [B, H, W, C]."""
    return np.moveaxis(array, 1, -1)


def nchw(array):
    """[B, H, W, C] as [B, C, H, W]."""
    return np.moveaxis(np.asarray(array), -1, 1)


def keep_gradients(optimizer, kept):
    """Has an optimizer append the gradients it applies, by our weight names, to ``kept``."""
    apply = optimizer.apply

    def apply_and_keep(gradients, variables):
        names = [variable.path.split("/", 1)[1] for variable in variables]
        kept.append(dict(zip(names, gradients, strict=True)))
        return apply(gradients, variables)

    optimizer.apply = apply_and_keep


def not_compared(recording, reasons):
    """Reasons by the names of the entries that are not compared.

    Args:
        recording: the recording.
        reasons: dict from regular expressions of whole names to reasons.
    """
    found = {
        name: [why for p, why in reasons.items() if re.fullmatch(p, name)] for name in recording
    }
    return {name: whys[0] for name, whys in found.items() if whys}


def check_names(recording, found, skipped, partial=None, networks=("G0", "D0")):
    """Raises ValueError unless a recording has all that is computed, and nothing else.

    Args:
        recording: the recording.
        found: what is computed, by name.
        skipped: names that are not compared.
        partial: compiled regular expression of names of which a recording may lack some.
        networks: prefixes, of each of which there must be an entry.
    """
    names = set(recording) - set(skipped)
    missing = {name for name in found if not (partial and partial.match(name))} - names
    unknown = names - set(found)
    missing |= set(networks) - {name.split("/")[0] for name in recording}
    if missing or unknown:
        raise ValueError(
            "A recording must hold the entries that tests/golden/README.md lists, and no others. "
            f"Missing: {_listed(missing)}. Unknown: {_listed(unknown)}."
        )


def _listed(names):
    names = sorted(names)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (", ".join(names[:10]) or "none") + more

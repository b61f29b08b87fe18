"""Do our networks compute what a recording of StyleGAN2 or BigGAN and its adaptation holds?

    python -m benchmarks.parity --system=few_shot --golden=tests/golden/biggan.npz

Any file of that form will do; its settings stand in the file. Prints a row per item (tolerance,
what was measured, where it was largest), after what is not compared, and why. Exits with 1 if a row
fails. An entry that is missing or unknown is an error. Files are described in
tests/golden/README.md.

Recordings were made in double precision. In single precision a few ReLUs' inputs change their sign
by rounding alone, which single entries of gradients show.
"""

import importlib
import re

import numpy as np

from benchmarks import golden_command, golden_files
from benchmarks.few_shot import recordings
from benchmarks.parity_rows import largest, row_of, share_of_largest

_NETWORKS = ("stylegan2", "biggan")
# Arrays whose largest entry is below are zero but for rounding.
_ROUNDING = 1e-6


def of(recording):
    """The module that knows the network of a recording: `parity_NETWORK`.

    It defines `computed(recording, dtype)`, all that our networks compute by the recording's names;
    `SKIPPED`, reasons by regular expressions of names that are not compared; and `rules(dtype)`, a
    list of (regular expression, tolerance, that of arrays that are zero but for rounding), of which
    the first that fits a name counts.
    """
    network = golden_files.meta(recording).get("which")
    if network not in _NETWORKS:
        raise ValueError(
            f"`which` in the settings of a recording must be one of {', '.join(_NETWORKS)}. "
            f"Received: {network}."
        )
    return importlib.import_module(f"benchmarks.few_shot.parity_{network}")


def compare(recording, dtype="float32"):
    """Compares everything our networks compute with a recording.

    Returns:
        (list of `Row`, dict of reasons by the names of what is not compared).

    Raises:
        ValueError: an entry is missing or unknown.
    """
    module = of(recording)
    skipped = golden_files.not_compared(recording, module.SKIPPED)
    found = module.computed(recording, dtype)
    golden_files.check_names(recording, found, skipped)
    return rows(recording, found, module.rules(dtype)), skipped


def rows(recording, found, rules):
    """The rows of all that was computed, one for every group of names and tolerance.

    Errors are shares of an array's largest entry. Arrays that are zero but for rounding are
    compared absolutely, in rows of their own. Lists of names must be equal.
    """
    groups = {}
    for name in found:
        want, got, item = recording[name], found[name], _group(name)
        tolerance, rounding = next(t for p, *t in rules if re.fullmatch(p, name))
        if want.dtype.kind == "U":
            error = float(set(got) != set(want.tolist()))
        elif want.shape != np.shape(got):
            error = np.inf
        elif want.size and largest(want) < _ROUNDING:
            error, tolerance = largest(got - want), rounding
            item += ", zero but for rounding"
        else:
            error = share_of_largest(got, want)
        groups.setdefault((item, tolerance), {})[name] = error
    return [row_of(item, tolerance, errors) for (item, tolerance), errors in groups.items()]


def _group(name):
    """The item that an entry belongs to: what holds a state dict, or several numbered entries."""
    parent, _, leaf = name.rpartition("/")
    if parent and ("." in leaf or leaf.isdigit()):
        return parent
    return re.sub(r"_?\d+$", "", name)


define_flags = golden_command.define_flags


def main(argv):
    """Compares, prints the table, and exits with 1 if a row fails."""
    del argv
    golden_command.run(recordings.load, compare)

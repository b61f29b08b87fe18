"""Rows of a comparison with recorded numbers, and how they are printed."""

import dataclasses
import sys

import numpy as np


@dataclasses.dataclass(frozen=True)
class Row:
    """One item: how far it may be off, how far it is, and which of its parts is off most."""

    item: str
    tolerance: float
    measured: float
    worst: str = ""

    @property
    def ok(self):
        """Whether the measured error is within the tolerance (NaN is not)."""
        return bool(self.measured <= self.tolerance)


def row_of(item, tolerance, errors):
    """The `Row` of the worst of several errors by name."""
    worst = int(np.argmax(list(errors.values())))  # the first NaN, if there is one
    name = list(errors)[worst]
    return Row(item, tolerance, float(errors[name]), name)


def largest(array):
    """The largest absolute entry."""
    return float(np.max(np.abs(array)))


def ratio(error, scale):
    """``error / scale``, 0 where there is no error."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error == 0, 0.0, np.divide(error, scale))


def relative(got, want):
    """The largest relative error of all entries."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    return largest(ratio(np.abs(got - want), np.abs(want)))


def share_of_largest(got, want):
    """The largest error as a share of the largest entry."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    return float(ratio(largest(got - want), largest(want))) if want.size else 0.0


def table(found):
    """Rows as text, a line each."""
    lines = [f"{'item':48s} {'tolerance':>9s} {'measured':>9s}  ok   worst"]
    for row in found:
        ok = "yes" if row.ok else "NO"
        line = f"{row.item:48s} {row.tolerance:9.1e} {row.measured:9.1e}  {ok:4s} {row.worst}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def report(found):
    """Prints the table, and exits with 1 if a row fails."""
    print(table(found))
    failed = sum(not row.ok for row in found)
    if failed:
        sys.exit(f"{failed} of {len(found)} items are off by more than their tolerance.")

"""The tables of an ablation: what was measured, and apart from it the published scores."""

import math
import re
from typing import NamedTuple

from oasis_tf.metrics.reports import evaluation_file

_NOTHING = "–"
_APART = "Published, under the papers' networks and data: compare these with each other only."


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        heading: text; None: the value's own name, and each of several values has a column.
        pattern: regular expression of the value's name; the last of several is used.
        better: "↑" or "↓".
        factor: what values are multiplied with.
        digits: behind the point.
    """

    heading: str | None
    pattern: str
    better: str
    factor: int
    digits: int


def rows(runs, columns):
    """Returns the heading and a row of text for every run. A value not measured is a dash.

    Args:
        runs: list of `runs.Run`.
        columns: list of `Column`.
    """
    values = [_values(run) for run in runs]
    columns = list(_columns(columns, {name for of_run in values for name in of_run}))
    heading = ["", *(heading for heading, *_ in columns)]
    body = zip(runs, values, strict=True)
    return [heading, *([run.name, *(_cell(v, *c[1:]) for c in columns)] for run, v in body)]


def published(runs):
    """Returns the heading and a row for every run with published scores."""
    scores = [[run.name, run.published] for run in runs if run.published]
    return [["", "published"], *scores] if scores else []


def _columns(columns, names):
    for heading, pattern, better, *form in columns:
        if heading:
            yield f"{heading} {better}", pattern, *form
            continue
        for name in sorted(n for n in names if re.fullmatch(pattern, n)):
            yield f"{name} {better}", re.escape(name), *form


def _values(run):
    path = evaluation_file.default_path(run.model_dir, run.steps)
    try:
        return evaluation_file.read(path)["metrics"]
    except (OSError, ValueError):
        return {}


def _cell(values, pattern, factor, digits):
    names = sorted(name for name in values if re.fullmatch(pattern, name))
    value = values[names[-1]] if names else math.nan
    return _NOTHING if math.isnan(value) else f"{factor * value:.{digits}f}"


def markdown(runs, columns):
    """Returns `rows`, then `published`, as Markdown tables."""
    parts = [_markdown(rows(runs, columns))]
    if apart := published(runs):
        parts += [_APART, _markdown(apart)]
    return "\n\n".join(parts)


def _markdown(lines):
    heading, *body = lines
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

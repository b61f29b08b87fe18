"""The tables of an ablation: what was measured, and apart from it the published scores."""

import math
import re

from oasis_tf.metrics.reports import evaluation_file

_NOTHING = "–"
# Heading, pattern of the value's name (the last of several is used), factor, digits. A heading that
# is None is the value's own name, and of several each has a column.
_COLUMNS = (
    (None, r"fid_.+", 1, 2),
    ("mIoU ↑", r"alignment_[^/]+/miou", 100, 1),
    ("rare mIoU ↑", r"alignment_[^/]+/miou_group_\d+", 100, 1),
    ("D's mIoU ↑", r"segmentation/miou", 100, 1),
    ("MS-SSIM ↓", r"diversity/ms_ssim_\d+scales", 1, 3),
    ("LPIPS ↑", r"diversity/lpips_\w+", 1, 4),
)
_APART = "Published, under the papers' networks and data: compare these with each other only."


def rows(runs):
    """Returns the heading and a row of text for every run. A value not measured is a dash.

    `mIoU` is that of generated images under the segmenter, `rare mIoU` that of the rarest fifth of
    the classes.

    Args:
        runs: list of `ablations.Run`.
    """
    values = [_values(run) for run in runs]
    columns = list(_columns({name for of_run in values for name in of_run}))
    heading = ["", *(heading for heading, *_ in columns)]
    body = zip(runs, values, strict=True)
    return [heading, *([run.name, *(_cell(v, *c[1:]) for c in columns)] for run, v in body)]


def published(runs):
    """Returns the heading and a row for every run with published scores."""
    scores = [[run.name, run.published] for run in runs if run.published]
    return [["", "published"], *scores] if scores else []


def _columns(names):
    for heading, pattern, *form in _COLUMNS:
        if heading:
            yield heading, pattern, *form
            continue
        for name in sorted(n for n in names if re.fullmatch(pattern, n)):
            yield f"{name} ↓", re.escape(name), *form


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


def markdown(runs):
    """Returns `rows`, then `published`, as Markdown tables."""
    parts = [_markdown(rows(runs))]
    if apart := published(runs):
        parts += [_APART, _markdown(apart)]
    return "\n\n".join(parts)


def _markdown(lines):
    heading, *body = lines
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

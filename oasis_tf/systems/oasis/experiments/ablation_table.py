"""The table of an ablation: measured values and published scores."""

import math
import re

from oasis_tf.metrics.reports import evaluation_file

_NOTHING = "–"
# Heading, pattern of the value's name (the last of several is used), factor, digits.
_COLUMNS = (
    ("FID ↓", r"fid_.+", 1, 2),
    ("mIoU ↑", r"alignment_[^/]+/miou", 100, 1),
    ("rare mIoU ↑", r"alignment_[^/]+/miou_group_\d+", 100, 1),
    ("D's mIoU ↑", r"segmentation/miou", 100, 1),
    ("MS-SSIM ↓", r"diversity/ms_ssim_\d+scales", 1, 3),
    ("LPIPS ↑", r"diversity/lpips_\w+", 1, 4),
)


def rows(runs):
    """Returns the heading and a row of text for every run. A value not measured is a dash.

    `mIoU` is that of generated images under the segmenter, `rare mIoU` that of the rarest fifth of
    the classes. Published scores are those of the papers, with their networks and data.

    Args:
        runs: list of `ablations.Run`.
    """
    heading = ["", *(heading for heading, *_ in _COLUMNS), "published"]
    return [heading, *(_row(run) for run in runs)]


def _row(run):
    try:
        values = evaluation_file.read(evaluation_file.default_path(run.model_dir, run.steps))[
            "metrics"
        ]
    except (OSError, ValueError):
        values = {}
    cells = [_cell(values, *column) for column in _COLUMNS]
    return [run.name, *cells, run.published or _NOTHING]


def _cell(values, heading, pattern, factor, digits):
    names = sorted(name for name in values if re.fullmatch(pattern, name))
    value = values[names[-1]] if names else math.nan
    return _NOTHING if math.isnan(value) else f"{factor * value:.{digits}f}"


def markdown(runs):
    """Returns `rows` as a Markdown table."""
    heading, *body = rows(runs)
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 2) + ["---"], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""Plots of evaluations as PNG files. Importing this module needs Matplotlib (extra `eval`)."""

import json
import math
import os

import numpy as np

from oasis_tf.metrics import metrics_lines
from oasis_tf.metrics.names import metric_of
from oasis_tf.metrics.reports.figures import BLUE, GREEN, GREY, ORANGE, Figure, cut, legend, save
from oasis_tf.metrics.reports.histogram_plots import histograms
from oasis_tf.metrics.reports.table import arrow, class_of, unit

__all__ = ["histograms", "iou_by_class", "metric_over_iterations", "write_all"]


_SERIES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (GREY, "x"))
_CLASSES_IN_A_COLUMN = 40
_LABELLED_CLASSES = 240


def write_all(folder, contents, found):
    """Writes the plots that an evaluation has data for.

    Args:
        folder: where the PNG files go; made when needed.
        contents: the report, as `evaluation.make_report` gives it.
        found: metric -> `Result`; those of `colour` and `texture` have `arrays` as `histograms`
            takes them.

    Returns:
        list of the paths written.
    """
    paths = []

    def draw(name, plot, *args, **kwargs):
        paths.append(os.path.join(folder, name))
        plot(paths[-1], *args, **kwargs)

    lines = [line for _, line in metrics_lines.read(contents["model_dir"]) if "evaluation" in line]
    if lines:
        draw("metrics.png", metric_over_iterations, lines)
    if any(class_of(name) and "/iou/" in name for name in contents["metrics"]):
        draw("iou_by_class.png", iou_by_class, contents)
    for metric, name in (("colour", "colour_emd"), ("texture", "texture_chi2")):
        if metric in found and "real" in found[metric].arrays:
            arrays = found[metric].arrays
            class_names = _class_names(found[metric].values, name, len(arrays["real"]))
            title = _title(contents, name)
            draw(f"{metric}_histograms.png", histograms, arrays, class_names, title=title)
    return paths


def _title(contents, what):
    model = os.path.basename(contents["model_dir"].rstrip("/"))
    return f"{model}, step {contents['step']}: {what}, {contents['num_images']} validation images"


def _class_names(values, prefix, num_classes):
    """Class names in the order of ids; an id that has no value is the unknown one, 0."""
    named = [parts[1] for parts in map(class_of, values) if parts and parts[0] == prefix]
    return ["unknown"] * (num_classes - len(named)) + named


# === Values while training ===


def metric_over_iterations(path, lines):
    """A panel for each metric that was measured while training.

    Args:
        path: PNG file.
        lines: those of metrics.jsonl, as text or as dicts; the ones with `evaluation` count. Of
            two for the same step the later one counts.

    Raises:
        ValueError: no line has an evaluation.
    """
    lines = [json.loads(line) if isinstance(line, str) else line for line in lines]
    steps = {line["step"]: line["evaluation"] for line in lines if "evaluation" in line}
    names = dict.fromkeys(n for s in sorted(steps) for n in steps[s] if class_of(n) is None)
    if not names:
        raise ValueError(
            f"There is nothing to plot in {path}: no evaluation was made while training. Train "
            "with --eval_every."
        )
    figure, panels = _panels(len(names))
    for axis, name in zip(panels, names, strict=False):
        _draw_metric(axis, name, sorted((s, v.get(name)) for s, v in steps.items()))
    figure.suptitle(f"Evaluation while training, steps {min(steps)} to {max(steps)}")
    save(figure, path)


def _panels(count, across=3):
    columns = min(count, across)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(4.4 * columns, 3.1 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in panels[count:]:
        axis.set_axis_off()
    return figure, panels


def _draw_metric(axis, name, points):
    unit_text, factor = unit(name)
    steps = [step for step, _ in points]
    values = [math.nan if value is None else factor * value for _, value in points]
    axis.plot(steps, values, "o-", color=BLUE, markersize=4)
    finite = [(value, step) for value, step in zip(values, steps, strict=True) if value == value]
    if finite and arrow(name):
        value, step = min(finite) if arrow(name) == "↓" else max(finite)
        axis.plot(step, value, "D", color=ORANGE, markersize=9, zorder=0)
        axis.set_title(f"best {value:.4g} at step {step}", fontsize=9)
    better = {"↓": "lower is better", "↑": "higher is better"}.get(arrow(name), "")
    axis.locator_params(axis="x", nbins=5)
    axis.set_xlim(*_around(steps))
    axis.set_xlabel("training step")
    with_unit = f"{name}, {unit_text}" if unit_text else name
    axis.set_ylabel(f"{with_unit}\n{better}".strip(), fontsize=8)
    axis.grid(alpha=0.3)


def _around(steps):
    margin = 0.05 * (max(steps) - min(steps)) or 1
    return min(steps) - margin, max(steps) + margin


# === IoU by class ===


def iou_by_class(path, report):
    """IoU of each class, classes from the most frequent in training to the rarest.

    One mark for each segmentation score of the report: generated images and real ones under a
    segmenter, real ones under the model's discriminator. Where the protocol has no groups of
    frequency, classes are in the order of their ids.

    Args:
        path: PNG file.
        report: what `evaluation_file.read` or `evaluation.make_report` gives.

    Raises:
        ValueError: the report has no IoU of a class.
    """
    series = _iou_series(report["metrics"])
    if not series:
        raise ValueError(
            f"There is nothing to plot in {path}: the report has no IoU of a class. Measure "
            "alignment or segmentation."
        )
    classes, sorted_by = _sorted_classes(report, series)
    draw = _labelled_iou if len(classes) <= _LABELLED_CLASSES else _ranked_iou
    figure = draw(classes, series, sorted_by)
    figure.suptitle(_title(report, "IoU by class"))
    save(figure, path)


def _iou_series(values):
    """Score -> class -> IoU in percent."""
    series = {}
    for name, value in values.items():
        parts = class_of(name)
        if parts and parts[0].endswith("/iou"):
            value = math.nan if value is None else 100 * value
            series.setdefault(parts[0].removesuffix("/iou"), {})[parts[1]] = value
    return series


def _sorted_classes(report, series):
    present = dict.fromkeys(name for of_classes in series.values() for name in of_classes)
    for score in series:
        protocol = report.get("protocols", {}).get(metric_of(f"{score}/miou"), {})
        grouped = [name for group in protocol.get("groups", []) for name in group["classes"]]
        if set(grouped) >= set(present):
            order = [name for name in grouped if name in present]
            return order, "most frequent in training first"
    return list(present), "order of class ids"


def _labelled_iou(classes, series, sorted_by):
    columns = math.ceil(len(classes) / _CLASSES_IN_A_COLUMN)
    rows = math.ceil(len(classes) / columns)
    size = (max(4.2 * columns, 6.5), max(0.17 * rows + 1.8, 3.6))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, columns, squeeze=False).ravel()
    for column, axis in enumerate(panels):
        part = classes[column * rows : (column + 1) * rows]
        _draw_iou(axis, series, part, horizontal=True)
        axis.set_ylim(rows - 0.5, -0.5)
        axis.set_yticks(range(len(part)), [cut(name) for name in part], fontsize=7)
        axis.set_xlabel("IoU, %")
    panels[0].set_ylabel(f"class, {sorted_by}")
    legend(figure, panels[0])
    return figure


def _ranked_iou(classes, series, sorted_by):
    figure = Figure(figsize=(12, 5), layout="constrained")
    axis = figure.subplots()
    _draw_iou(axis, series, classes, horizontal=False)
    axis.set(xlabel=f"class, {sorted_by}", ylabel="IoU, %")
    legend(figure, axis)
    return figure


def _draw_iou(axis, series, classes, horizontal):
    place = np.arange(len(classes))
    for (score, values), (colour, marker) in zip(series.items(), _styles(), strict=False):
        iou = [values.get(name, math.nan) for name in classes]
        xy = (iou, place) if horizontal else (place, iou)
        axis.plot(*xy, marker, color=colour, markersize=4 if horizontal else 2, label=score)
    (axis.set_xlim if horizontal else axis.set_ylim)(-3, 103)
    axis.grid(alpha=0.3)


def _styles():
    while True:
        yield from _SERIES

"""Plots of what the pixels of a class look like: real against generated images, extra `eval`."""

import numpy as np

from oasis_tf.metrics.histograms import colour
from oasis_tf.metrics.reports.figures import BLUE, ORANGE, Figure, cut, legend, save

_WORST = 4
_BARS = 80
_LAB = ("L: lightness", "a: green to red", "b: blue to yellow")


def histograms(path, arrays, class_names, title=""):
    """Histograms of real against generated images: of colours, or of local binary patterns.

    Rows: the mean over classes that occur in both, then those classes that differ most.

    Args:
        path: PNG file.
        arrays: `real` and `generated`, [N,3,bins] (L, a, b; `bin_centres` [bins] if not those of
            `colour`) or [N,1,bins] or [N,bins] (patterns); counts or shares, zeros or NaN for a
            class without pixels.
        class_names: N names.
        title: above the plot.

    Raises:
        ValueError: shapes that do not fit, or no class that occurs in both sets.
    """
    real, generated = (_shares(arrays[side]) for side in ("real", "generated"))
    if real.shape != generated.shape or len(real) != len(class_names):
        raise ValueError(
            "`real` and `generated` must have the same shape, with a name for every class. "
            f"Received: {real.shape}, {generated.shape} and {len(class_names)} names."
        )
    both = np.flatnonzero(~np.isnan(real + generated).any(axis=(1, 2)))
    if not len(both):
        raise ValueError(f"There is nothing to plot in {path}: no class occurs in both sets.")
    worst = both[np.argsort(-_distances(real[both], generated[both]), kind="stable")][:_WORST]
    rows = [(f"mean of {len(both)} classes", real[both].mean(0), generated[both].mean(0))]
    rows += [(cut(class_names[k]), real[k], generated[k]) for k in worst]
    figure = _figure(rows, arrays.get("bin_centres", colour.BIN_CENTRES))
    figure.suptitle(title or None)
    save(figure, path)


def _shares(counts):
    """[N,channels,bins] that sum to 1 over bins; NaN for classes without pixels."""
    counts = np.asarray(counts, np.float64)
    counts = counts[:, None] if counts.ndim == 2 else counts
    totals = counts.sum(-1, keepdims=True)
    return np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)


def _distances(real, generated):
    """In the order of the metrics' distances: earth mover's of colours, χ² of patterns."""
    if real.shape[1] == 3:
        return np.abs(np.cumsum(real - generated, -1)).sum((1, 2))
    return ((real - generated) ** 2 / np.maximum(real + generated, 1e-12)).sum((1, 2))


def _figure(rows, bin_centres):
    channels, bins = rows[0][1].shape
    size = (max(3.6 * channels, 6.5), 1.7 * len(rows) + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), channels, squeeze=False)
    for channel in range(channels):
        pairs = [(real[channel], generated[channel]) for _, real, generated in rows]
        if channels == 3:
            _draw_colours(axes[:, channel], pairs, bin_centres)
        else:
            _draw_patterns(axes[:, channel], pairs)
        label = f"{_LAB[channel]}, LAB units" if channels == 3 else _pattern_label(bins)
        axes[-1, channel].set_xlabel(label)
    share = "share of pixels" + (" per unit" if channels == 3 else "")
    for axis, (name, _, _) in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(f"{name}\n{share}", fontsize=8)
    legend(figure, axes[0, 0])
    return figure


def _draw_colours(axes, pairs, centres):
    """One channel: fine bins are joined until those where anything is are few enough to see."""
    seen = np.flatnonzero(np.sum(pairs, axis=(0, 1)) > 0)
    factor = -(-(seen[-1] - seen[0] + 1) // _BARS)
    begin, fine = max(seen[0] - factor, 0), centres[1] - centres[0]
    for axis, pair in zip(axes, pairs, strict=True):
        real, generated = (_joined(p[begin : seen[-1] + 1], factor) / fine for p in pair)
        places = centres[begin] + fine * (factor * (np.arange(len(real)) + 0.5) - 0.5)
        axis.fill_between(places, real, step="mid", color=BLUE, alpha=0.4, label="real")
        axis.step(places, generated, where="mid", color=ORANGE, linewidth=1.6, label="generated")
        axis.set_xlim(places[0], places[-1])
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)


def _joined(shares, factor):
    """Mean share of as many neighbouring bins as `factor` says, with an empty one at the end."""
    padded = np.pad(shares, (0, -len(shares) % factor + factor))
    return padded.reshape(-1, factor).mean(1)


def _draw_patterns(axes, pairs):
    for axis, (real, generated) in zip(axes, pairs, strict=True):
        place = np.arange(len(real))
        axis.bar(place - 0.2, real, 0.4, color=BLUE, label="real")
        axis.bar(place + 0.2, generated, 0.4, color=ORANGE, hatch="//", label="generated")
        axis.set_xticks(place)
        axis.grid(alpha=0.3, axis="y")


def _pattern_label(bins):
    return f"local binary pattern: 0 to {bins - 2} bright neighbours in one arc; {bins - 1}: others"

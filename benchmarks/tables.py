"""Measurements as a table, as JSON and as a plot."""

import dataclasses
import importlib.util
import json
import os

from benchmarks.pairing import ratio
from oasis_tf.io import files

OURS = "ours "  # our contenders' names begin with it
_TASKS = {"step": "Training iteration", "generate": "Generating a batch"}


def title(settings, rounds, iterations):
    """What a table shows, as a line."""
    return (
        f"{_TASKS[settings.task]}, {settings.height}×{settings.width}, batch {settings.batch_size},"
        f" {settings.text}; {rounds} rounds of {iterations}"
    )


def table(found):
    """Measurements by name as text; a column of ratios for every peer."""
    peers = [name for name in found if not name.startswith(OURS)]
    head = ["contender", "s median", "min", "max", "peak GiB", "without state"]
    rows = [head + [f"{peer} / this (min–max)" for peer in peers]]
    for name, m in found.items():
        row = [name, *(f"{s:.3f}" for s in (m.median, min(m.seconds), max(m.seconds)))]
        row += [_gib(m.peak), _gib(m.activations)]
        rows.append(row + [_ratio_text(ratio(found[peer], m)) for peer in peers])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        padded = [f"{cell:>{width}s}" for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([f"{name:{widths[0]}s}", *padded]))
    return "\n".join(lines)


def _gib(count):
    return f"{count / 2**30:.2f}"


def _ratio_text(found):
    return f"{found.median:.2f} ({found.low:.2f}–{found.high:.2f})"


# === JSON ===


def as_json(settings, commands, found, args, speed):
    """A run: settings, contenders, and the ratio of every peer to every other contender.

    Args:
        settings: `Settings`. commands, found: by name. args: the flags. speed: the system's module.
    """
    peers = [name for name in found if not name.startswith(OURS)]
    return {
        "settings": dataclasses.asdict(settings)
        | {name: args[name].value for name in ("rounds", "iterations", "warmup", "batches")}
        | speed.source(args),
        "contenders": {
            name: {
                "command": commands[name],
                "median_seconds": m.median,
                "seconds": m.seconds,
                "warmup_seconds": m.warmup_seconds,
                "peak_bytes": m.peak,
                "peak_bytes_without_state": m.activations,
                "facts": m.facts,
            }
            for name, m in found.items()
        },
        "ratios": [
            {"of": peer, "to": name, **dataclasses.asdict(ratio(found[peer], found[name]))}
            for peer in peers
            for name in found
            if name != peer
        ],
    }


def write_json(contents, path):
    """Writes a dict; never leaves half a file."""
    with files.written_aside(path) as aside, open(aside, "w", encoding="utf-8") as file:
        json.dump(contents, file, indent=2)
        file.write("\n")


def check_paths(json_path, plot_path):
    """Raises ValueError or OSError if the results could not be written in the end."""
    if plot_path:
        if not plot_path.endswith(".png"):
            raise ValueError(f"--plot must name a .png file. Received: {plot_path}.")
        if importlib.util.find_spec("matplotlib") is None:
            raise ValueError('--plot needs Matplotlib: pip install "oasis-tf[bench]".')
    for path in filter(None, (json_path, plot_path)):
        folder = os.path.dirname(os.path.abspath(path))
        os.makedirs(folder, exist_ok=True)
        if os.path.isdir(path) or not os.access(folder, os.W_OK):
            raise OSError(f"Cannot write {path}. Name a file in a folder that can be written.")


# === Plot ===


def plot(contents, values, path):
    """Plots seconds and memory over the values of what was varied to a PNG file.

    Args:
        contents: dict as it is written to JSON.
        values: list of ints, one for each of its runs.
        path: the file.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    panels = (
        ("seconds, median", "median_seconds", 1),
        ("peak memory without weights, GiB", "peak_bytes_without_state", 2**30),
    )
    for axis, (label, key, unit) in zip(axes, panels, strict=True):
        for name in contents["runs"][0]["contenders"]:
            measured = [run["contenders"][name][key] / unit for run in contents["runs"]]
            axis.plot(values, measured, "o-", label=name)
        axis.set(xlabel=contents["scale"], ylabel=label, xticks=values)
        axis.update_datalim([(values[0], 0)])  # heights are compared, so they begin at zero
        axis.autoscale_view()
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle(f"{_TASKS[contents['benchmark']]} ({contents['environment']['cpu']})")
    with files.written_aside(path) as aside:
        figure.savefig(aside, dpi=120)

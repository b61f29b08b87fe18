"""What plots share. Importing this module needs Matplotlib (extra `eval`)."""

from oasis_tf.io import files

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise ValueError('Plots need Matplotlib: pip install "oasis-tf[eval]".') from error

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "Figure", "cut", "legend", "save"]

# Of Okabe and Ito: they differ for colour-blind eyes and, printed, in lightness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#555555"

_DPI = 120


def legend(figure, axis):
    """A legend below all panels, of what was drawn on one of them."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))


def cut(name, length=24):
    """A class name short enough for a label."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def save(figure, path):
    """Writes a PNG file, whole or not at all."""
    FigureCanvasAgg(figure)
    with files.written_aside(path) as aside:
        figure.savefig(aside, dpi=_DPI, format="png")

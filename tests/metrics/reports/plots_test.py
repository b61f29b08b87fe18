"""Plots: what is drawn is what was measured, in the order and the units that labels say."""

import importlib
import itertools
import json
import math
import struct
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from oasis_tf.metrics.evaluator import Result
from oasis_tf.metrics.histograms import colour
from oasis_tf.metrics.reports import histogram_plots, plots


@pytest.fixture
def drawn(monkeypatch):
    """Keeps figures instead of writing them: path -> figure."""
    figures = {}
    for module in (plots, histogram_plots):
        monkeypatch.setattr(module, "save", lambda figure, path: figures.__setitem__(path, figure))
    return figures


def report_of(metrics, protocols=None, model_dir="/models/first"):
    return {
        "model_dir": model_dir,
        "step": 5000,
        "num_images": 7,
        "metrics": metrics,
        "protocols": protocols or {},
    }


def iou_values(prefix, values):
    return {f"{prefix}/iou/{name}": value for name, value in values.items()}


def evaluation_lines(values):
    for step, of_step in values:
        yield json.dumps({"step": step - 1, "loss/generator": 2.0}) + "\n"
        yield json.dumps({"step": step, "evaluation": of_step}) + "\n"


# === Metrics over iterations ===

VALUES = [
    (200, {"fid_seeded64": 30.0, "alignment_compact/miou": 0.25, "segmentation/iou/sky": 0.5}),
    (100, {"fid_seeded64": 50.0, "alignment_compact/miou": None}),
    (300, {"fid_seeded64": 99.0}),
    (300, {"fid_seeded64": 40.0, "alignment_compact/miou": 0.5}),
]


def test_a_panel_for_each_metric_in_order_of_steps(drawn):
    plots.metric_over_iterations("a.png", evaluation_lines(VALUES))
    fid, miou = drawn["a.png"].axes
    assert fid.lines[0].get_xdata().tolist() == [100, 200, 300]
    assert fid.lines[0].get_ydata().tolist() == [50, 30, 40]  # of step 300, the later line
    assert fid.get_ylabel() == "fid_seeded64\nlower is better"
    assert fid.get_title() == "best 30 at step 200"
    assert fid.get_xlabel() == "training step"
    np.testing.assert_equal(miou.lines[0].get_ydata().tolist(), [math.nan, 25, 50])
    assert miou.get_ylabel() == "alignment_compact/miou, %\nhigher is better"
    assert miou.get_title() == "best 50 at step 300"
    assert drawn["a.png"].get_suptitle() == "Evaluation while training, steps 100 to 300"


def test_panels_without_a_metric_are_empty(drawn):
    values = {f"fid_{k}": 1.0 for k in "abcd"}
    plots.metric_over_iterations("a.png", [{"step": 5, "evaluation": values}])
    assert [axis.axison for axis in drawn["a.png"].axes] == [True] * 4 + [False] * 2


def test_nothing_measured_while_training_is_refused():
    with pytest.raises(ValueError, match="a.png: no evaluation was made.*--eval_every"):
        plots.metric_over_iterations("a.png", ['{"step": 1, "loss/generator": 2.0}'])


# === IoU by class ===


def test_classes_are_sorted_by_frequency_with_a_mark_for_each_score(drawn):
    iou = {"sky": 0.5, "sea": math.nan, "road": 1.0}
    metrics = iou_values("alignment_compact", iou) | iou_values("segmenter_compact", iou)
    metrics |= iou_values("segmentation", {"sky": 0.1, "sea": 0.2, "road": None})
    groups = [{"classes": ["road"]}, {"classes": ["sky", "sea"]}]
    plots.iou_by_class("a.png", report_of(metrics, {"alignment": {"groups": groups}}))
    (axis,) = drawn["a.png"].axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["road", "sky", "sea"]
    marks = {line.get_label(): line.get_xdata() for line in axis.lines}
    np.testing.assert_equal(list(marks["alignment_compact"]), [100, 50, math.nan])
    np.testing.assert_equal(list(marks["segmentation"]), [math.nan, 10, 20])
    assert len({line.get_marker() for line in axis.lines}) == 3
    assert axis.get_ylim()[0] > axis.get_ylim()[1]  # the first class is on top
    assert (axis.get_xlabel(), axis.get_ylabel()) == (
        "IoU, %",
        "class, most frequent in training first",
    )
    title = drawn["a.png"].get_suptitle()
    assert title == "first, step 5000: IoU by class, 7 validation images"


def test_without_groups_of_all_classes_ids_give_the_order(drawn):
    metrics = iou_values("segmentation", {"sky": 0.5, "sea": 0.25})
    groups = [{"classes": ["sea"]}]
    plots.iou_by_class("a.png", report_of(metrics, {"segmentation": {"groups": groups}}))
    (axis,) = drawn["a.png"].axes
    assert axis.get_ylabel() == "class, order of class ids"
    assert list(axis.lines[0].get_xdata()) == [50, 25]


@pytest.mark.parametrize(("count", "columns"), [(40, 1), (41, 2), (151, 4), (1203, 1)])
def test_every_one_of_many_classes_is_drawn_once(drawn, count, columns):
    iou = {f"class {k}": k / count for k in range(count)}
    plots.iou_by_class("a.png", report_of(iou_values("segmentation", iou)))
    axes = drawn["a.png"].axes
    assert len(axes) == columns
    data = [axis.lines[0].get_data()[int(count == 1203)] for axis in axes]
    found = [value for values in data for value in values]
    np.testing.assert_allclose(found, [100 * k / count for k in range(count)])


def test_a_report_without_classes_is_refused():
    with pytest.raises(ValueError, match="a.png: the report has no IoU.*alignment or segmentation"):
        plots.iou_by_class("a.png", report_of({"segmentation/miou": 0.5}))


# === Histograms ===


def spikes(*places):
    """Counts [3,bins] of ten pixels at one LAB value in each channel."""
    counts = np.zeros((3, len(colour.BIN_CENTRES)))
    for channel, place in enumerate(places):
        counts[channel, np.argmin(abs(colour.BIN_CENTRES - place))] = 10
    return counts


def test_colours_are_drawn_where_they_are_with_an_area_of_one(drawn):
    real = np.stack([spikes(20, -30, 0), spikes(80, 30, 0)])
    generated = np.stack([spikes(20, -30, 0), spikes(60, 30, 5)])
    plots.histograms("a.png", {"real": real, "generated": generated}, ["sky", "sea"], title="T")
    axes = np.reshape(drawn["a.png"].axes, (3, 3))
    labels = [axis.get_ylabel().split("\n")[0] for axis in axes[:, 0]]
    assert labels == ["mean of 2 classes", "sea", "sky"]  # the sea differs most
    assert axes[0, 0].get_ylabel().split("\n")[1] == "share of pixels per unit"
    places, density = axes[1, 0].lines[0].get_data()
    width = places[1] - places[0]
    assert places[np.argmax(density)] == pytest.approx(60, abs=width / 2 + 1e-9)
    assert width < 1.1
    assert density.sum() * width == pytest.approx(1)
    mean = axes[0, 0].lines[0].get_data()[1]
    assert np.count_nonzero(mean) == 2
    assert mean.sum() * width == pytest.approx(1)
    assert axes[2, 1].get_xlabel() == "a: green to red, LAB units"
    assert [text.get_text() for text in drawn["a.png"].legends[0].texts] == ["real", "generated"]
    assert drawn["a.png"].get_suptitle() == "T"


def test_patterns_are_bars_of_shares(drawn):
    real, generated = np.array([[[6.0, 2, 0]], [[1, 0, 0]]]), np.array([[[0.0, 4, 4]], [[3, 0, 0]]])
    plots.histograms("a.png", {"real": real, "generated": generated}, ["sky", "sea"])
    mean, sky, sea = drawn["a.png"].axes
    heights = [[bar.get_height() for bar in bars] for bars in sky.containers]
    assert heights == [[0.75, 0.25, 0], [0, 0.5, 0.5]]
    assert [bar.get_height() for bar in mean.containers[0]] == [0.875, 0.125, 0]
    assert (
        sea.get_xlabel() == "local binary pattern: 0 to 1 bright neighbours in one arc; 2: others"
    )


def test_classes_without_pixels_are_left_out_and_the_worst_four_shown(drawn):
    share = np.linspace(0, 1, 7)
    generated = np.stack([1 - share, share], 1)
    real = np.tile([1.0, 0.0], (7, 1))
    real[6] = np.nan
    generated[5] = 0
    plots.histograms("a.png", {"real": real, "generated": generated}, list("abcdefg"))
    labels = [axis.get_ylabel().split("\n")[0] for axis in drawn["a.png"].axes]
    assert labels == ["mean of 5 classes", "e", "d", "c", "b"]


@pytest.mark.parametrize(("channels", "first"), [(1, "near"), (3, "far")])
def test_classes_are_ranked_as_the_metrics_rank_them(drawn, channels, first):
    """All pixels one bin away are more by χ², half of them nine bins away by the earth mover's."""
    real, near, far = np.zeros((3, channels, 10))
    real[:, 0] = near[:, 1] = 1
    far[:, 0] = far[:, 9] = 0.5
    arrays = {"real": np.stack([real, real]), "generated": np.stack([far, near])}
    plots.histograms("a.png", arrays | {"bin_centres": np.arange(10.0)}, ["far", "near"])
    assert drawn["a.png"].axes[channels].get_ylabel().split("\n")[0] == first


def test_arrays_that_do_not_fit_are_refused():
    real = np.ones((2, 10))
    with pytest.raises(ValueError, match=r"same shape.*\(2, 1, 10\), \(2, 1, 10\) and 3 names"):
        plots.histograms("a.png", {"real": real, "generated": real}, list("abc"))
    with pytest.raises(ValueError, match=r"\(2, 1, 10\), \(1, 1, 10\)"):
        plots.histograms("a.png", {"real": real, "generated": real[:1]}, list("ab"))
    with pytest.raises(ValueError, match="a.png: no class occurs in both sets"):
        plots.histograms("a.png", {"real": real, "generated": 0 * real}, list("ab"))


# === Files ===


def png_size(path):
    header = path.read_bytes()[:24]
    assert header.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", header[16:])


def histogram_results():
    real, texture = spikes(20, -30, 0)[None], np.ones((1, 1, 10))
    nothing = np.full_like(real, np.nan), np.full_like(texture, np.nan)
    colours = np.concatenate([nothing[0], real])
    patterns = np.concatenate([nothing[1], texture])
    return {
        "colour": Result(
            {"colour_emd/mean": 0.0, "colour_emd/sky": 0.0},
            arrays={"real": colours, "generated": colours},
        ),
        "texture": Result(
            {"texture_chi2/mean": 0.0, "texture_chi2/sky": 0.0},
            arrays={"real": patterns, "generated": patterns},
        ),
    }


def test_all_plots_are_written_as_png(tmp_path):
    model_dir, folder = tmp_path / "model", tmp_path / "plots"
    model_dir.mkdir()
    lines = [*evaluation_lines(VALUES), '{"step": 400, "evaluation": {"fid_']  # killed here
    (model_dir / "metrics.jsonl").write_text("".join(lines))
    contents = report_of(iou_values("segmentation", {"sky": 0.5}), model_dir=str(model_dir))
    paths = plots.write_all(str(folder), contents, histogram_results())
    names = ["metrics.png", "iou_by_class.png", "colour_histograms.png", "texture_histograms.png"]
    assert paths == [str(folder / name) for name in names]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for path in folder.iterdir():
        assert min(png_size(path)) > 300


def test_titles_say_step_and_protocol_and_classes_their_names(drawn, tmp_path):
    plots.write_all("p", report_of({}, model_dir=str(tmp_path)), histogram_results())
    assert list(drawn) == ["p/colour_histograms.png", "p/texture_histograms.png"]
    figure = drawn["p/colour_histograms.png"]
    title = f"{tmp_path.name}, step 5000: colour_emd, 7 validation images"
    assert figure.get_suptitle() == title
    assert figure.axes[3].get_ylabel().startswith("sky\n")  # not the unknown class


def test_without_data_there_are_no_plots(tmp_path):
    contents = report_of({"fid_seeded64": 1.0}, model_dir=str(tmp_path))
    assert plots.write_all(str(tmp_path), contents, {"fid": Result({"fid_seeded64": 1.0})}) == []
    assert list(tmp_path.iterdir()) == []


def test_a_plot_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(figure, file, **kwargs):
        open(file, "wb").close()
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.metric_over_iterations(str(path), evaluation_lines(VALUES))
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    for name in ("matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("plots", "histogram_plots", "figures"):
        monkeypatch.delitem(sys.modules, f"oasis_tf.metrics.reports.{name}")
    with pytest.raises(ValueError, match=r'Plots need Matplotlib: pip install "oasis-tf\[eval\]"'):
        importlib.import_module("oasis_tf.metrics.reports.plots")


def test_colours_differ_for_colour_blind_eyes():
    """Lightness, which all eyes see, of any two series differs by 8 or more of 100."""
    from skimage.color import rgb2lab

    from oasis_tf.metrics.reports.figures import BLUE, GREEN, GREY, ORANGE

    rgb = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in (BLUE, ORANGE, GREEN, GREY)]
    lightness = rgb2lab(np.array([rgb]))[0, :, 0]
    assert min(abs(a - b) for a, b in itertools.combinations(lightness, 2)) >= 8

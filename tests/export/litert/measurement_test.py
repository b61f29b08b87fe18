"""Measurements of TFLite files."""

import numpy as np
import pytest

from export.litert import measurement
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.systems.oasis.serving.litert_networks import Network

SPACE = folder_label_space(3, unknown_label=255)


class Weight:
    def numpy(self):
        return np.zeros((250, 1000), np.float32)


def network(name, reference):
    return Network(name, None, {"kernel": Weight()}, reference, None)


@pytest.fixture
def runs(monkeypatch):
    """Stands in for the runtime: function(what the file computes)."""
    return lambda call: monkeypatch.setattr(measurement, "runner", lambda contents, threads: call)


def test_errors_of_images(runs):
    reference = lambda x: {"image": np.stack([x, x, -x], -1)}  # noqa: E731
    examples = [({"x": np.full((1, 2, 4), value)}, None) for value in (0.25, 0.5)]
    measured = measurement.Reference(network("generator", reference), examples, SPACE)
    runs(lambda x: {"image": reference(x)["image"] + 0.02 * (x[..., None] > 0.3)})
    row = measured.measure(b"x" * 500_000, threads=1)
    assert row["megabytes"] == 0.5
    assert row["max_error"] == pytest.approx(0.02)
    assert row["mean_error"] == pytest.approx(0.01)
    assert row["psnr"] == pytest.approx(10 * np.log10(4 / (0.02**2 / 2)))
    assert 0 <= row["milliseconds_min"] <= row["milliseconds_median"]
    assert measured.row()["megabytes"] == 1
    runs(reference)
    assert measured.measure(b"", threads=1)["psnr"] is None


def test_labels_of_a_segmenter(runs):
    truth = np.array([[[0, 0, 1, 1, 2, 2, 2, 2]]])
    fake = np.zeros(truth.shape)
    found = np.array([[[1, 1, 1, 1, 2, 2, 2, 1]]])

    def reference(image):
        return {"label_map": found, "fake_probability": fake}

    def other(image):
        return {"label_map": np.where(truth == 0, 2, found), "fake_probability": fake + 0.1}

    examples = [({"image": None}, truth)]
    measured = measurement.Reference(network("segmenter", reference), examples, SPACE)
    runs(other)
    row = measured.measure(b"", threads=1)
    assert row["equal_labels"] == pytest.approx(6 / 8)
    assert row["psnr"] == pytest.approx(20)
    # Pixels whose true class is unknown do not count: 2/3 of class 1, 3/4 of class 2.
    assert row["miou"] == measured.row()["miou"] == pytest.approx((2 / 3 + 3 / 4) / 2)


@pytest.mark.parametrize(
    ("quantize", "line"),
    [
        ("none", "WARNING: none: max error 2.0e-04 is above 1e-04."),
        ("float16", "WARNING: float16: PSNR 59.0 dB is below 60 dB."),
        ("dynamic", None),
        ("int8", "int8 can be seen to lose: PSNR 59.0 dB, max error 0.00."),
    ],
)
def test_missed_bounds_are_told(quantize, line):
    row = {"max_error": 2e-4, "psnr": 59.0}
    assert measurement.remarks("generator", quantize, row) == ([line] if line else [])
    assert measurement.remarks("segmenter", quantize, row) == []
    assert measurement.remarks("generator", quantize, {"max_error": 0.0, "psnr": None}) == []


def test_tables_leave_out_what_no_row_has():
    rows = [{"file": "engine", "megabytes": 1.5}, {"file": "none", "megabytes": 2, "psnr": None}]
    assert measurement.table(rows).splitlines() == [
        "| file | MB | PSNR dB |",
        "| --- | ---: | ---: |",
        "| engine | 1.50 | – |",
        "| none | 2.00 | – |",
    ]

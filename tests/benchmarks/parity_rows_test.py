"""Tables of comparisons: what is off is marked, and ends the command with 1."""

import numpy as np
import pytest

from benchmarks import parity_rows
from benchmarks.one_shot import recordings
from benchmarks.parity_rows import Row, relative, row_of


def test_a_failing_row_is_marked_and_exits(capsys):
    rows = [Row("good", 1e-5, 1e-6), Row("bad", 1e-5, 1e-4, "worst")]
    with pytest.raises(SystemExit, match="1 of 2 items are off"):
        parity_rows.report(rows)
    lines = capsys.readouterr().out.splitlines()
    assert "yes" in lines[1] and "NO" in lines[2] and lines[2].endswith("worst")
    parity_rows.report(rows[:1])


def test_errors():
    assert row_of("item", 0.1, {"a": 0.05, "b": float("nan")}).worst == "b"
    assert not Row("item", 0.1, float("nan")).ok
    assert relative([0.0, 1.1], [0.0, 1.0]) == pytest.approx(0.1)


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", meta="{}", z=0)
    with pytest.raises(ValueError, match="must be a recording of SIV-GAN.*lacks history, image"):
        recordings.load(tmp_path / "other.npz")


def test_recorded_decisions():
    """Operations are carried out in order, each on what the one before left."""
    mask = np.zeros((2, 4, 4, 2), np.float32)
    mask[..., 0], mask[0, 1, 1] = 1, (0, 1)
    none = [-1] * 10
    swap = [2, 0, 0, 1, 0, 2, -1, -1, -1, -1]
    duplicate = [4, 0, 1, 2, 1, 1, 1, 1, 1, -1]
    remove = [5, 0, 1, 0, 2, 1, 1, 1, 1, -1]
    paste = [3, 0, 1, -1, -1, -1, -1, -1, -1, -1]
    found = recordings.sources(np.array([swap, duplicate, remove, paste, none]), (2, 4, 4), mask)
    wanted = np.arange(32).reshape(2, 4, 4)
    wanted[0, 0, :2], wanted[1, 0, :2] = (16, 17), (0, 1)
    wanted[0, 3, 2] = 5
    wanted[0, 1, 1] = 7
    wanted[1, 3, 2] = 5
    np.testing.assert_array_equal(found, wanted)

"""Tables, paths and plots."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import tables
from benchmarks.pairing import Measurement

GIB = 2**30
FOUND = {
    "ours float32": Measurement((1.0, 2.0, 4.0), (GIB, 2 * GIB, GIB), {"state_bytes": GIB}, 5.0),
    "eager": Measurement((4.0, 4.0, 8.0), (3 * GIB, GIB, GIB), {"state_bytes": 0}, 6.0),
}


def test_table():
    head, *rows = tables.table(FOUND).splitlines()
    assert head.split() == [
        *("contender", "s", "median", "min", "max", "peak", "GiB", "without", "state"),
        *("eager", "/", "this", "(min–max)"),
    ]
    assert [row.split() for row in rows] == [
        ["ours", "float32", "2.000", "1.000", "4.000", "2.00", "1.00", "2.00", "(2.00–4.00)"],
        ["eager", "4.000", "4.000", "8.000", "3.00", "3.00", "1.00", "(1.00–1.00)"],
    ]
    assert len({len(row) for row in (head, *rows)}) == 1


def test_refuses_paths_it_could_not_write(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"--plot must name a .png file. Received: a.pdf"):
        tables.check_paths(None, "a.pdf")
    with pytest.raises(OSError, match=f"Cannot write {tmp_path}. Name a file"):
        tables.check_paths(str(tmp_path), None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'needs Matplotlib: pip install "oasis-tf\[bench\]"'):
        tables.check_paths(None, str(tmp_path / "a.png"))


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    contenders = [
        {
            "ours": {"median_seconds": s, "peak_bytes_without_state": GIB},
            "peer": {"median_seconds": 2 * s, "peak_bytes_without_state": 2 * GIB},
        }
        for s in (1, 5)
    ]
    contents = {
        "benchmark": "step",
        "scale": "size",
        "environment": {"cpu": "a CPU"},
        "runs": [{"contenders": found} for found in contenders],
    }
    path = tmp_path / "plot.png"
    tables.plot(contents, [64, 128], str(path))
    picture = np.asarray(Image.open(path).convert("L"))
    assert picture.shape == (480, 1200)
    assert (picture < 128).any()
    assert [file.name for file in tmp_path.iterdir()] == ["plot.png"]

"""Local paths: `~` is the home folder, addresses are refused."""

import re
from pathlib import Path

import pytest

from oasis_tf import OASIS, load
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io import paths


def test_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.local_path("~/data") == str(tmp_path / "data")
    assert paths.local_path(Path("~/data")) == str(tmp_path / "data")
    for same in ("data", "/data/~", "./gs:/x", "C:/data", "a b/[1]", ""):
        assert paths.local_path(same) == same


@pytest.mark.parametrize("scheme", ["gs", "s3", "hdfs", "https", "abfs+x", "file"])
def test_addresses_are_refused(scheme):
    address = f"{scheme}://bucket/data"
    for given in (address, Path(address)):  # a path object has one slash
        with pytest.raises(
            ValueError, match=rf"must be local. Received: .*\({re.escape(scheme)}:\)"
        ):
            paths.local_path(given)


def test_the_home_of_nobody_is_refused():
    with pytest.raises(ValueError, match=r"no home folder is known for ~nobody_of_this_name\. "):
        paths.local_path("~nobody_of_this_name/data")


@pytest.mark.parametrize("character", "[]*?")
def test_patterns(tmp_path, monkeypatch, character):
    folder = tmp_path / f"a{character}b"
    with pytest.raises(ValueError, match=rf"without \[ \] .*with \{character}\."):
        paths.check_no_pattern(folder / "1")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="which TensorFlow takes for a pattern"):
        paths.check_no_pattern("1")
    paths.check_no_pattern(tmp_path / "a {b} (1), ü~")


def test_entry_points_of_python(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for function in (OASIS.load, load, PreparedDataset.load):
        with pytest.raises(ValueError, match="must be local. Received: gs://bucket/run"):
            function("gs://bucket/run")
        with pytest.raises(FileNotFoundError, match=rf"{tmp_path}/run is not a"):
            function("~/run")

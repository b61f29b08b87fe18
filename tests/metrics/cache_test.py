"""Results kept beside the data: names that change with what decides, places, and failures."""

import dataclasses
import logging
import os

import numpy as np
import pytest

from oasis_tf.metrics import cache


def test_a_key_is_a_pure_function_of_its_contents():
    assert cache.key({"a": 1, "b": [1, 2]}) == cache.key({"b": (1, 2), "a": 1})
    # sha256 of '{"a": 1}': files that were kept must be found again by later versions.
    assert cache.key({"a": 1}) == "f9d86028c6e0d64e"


def test_a_key_changes_with_everything():
    values = [
        {},
        {"a": 1},
        {"a": 2},
        {"b": 1},
        {"a": [1]},
        {"a": "1"},
        {"a": None},
        {"a": {"b": 1}},
    ]
    assert len({cache.key(value) for value in values}) == len(values)


def test_a_key_is_a_file_name():
    assert cache.key({"path": "../x"}).isalnum()


def test_digests_of_a_split_follow_its_shards(colour_dataset):
    train = cache.split_digests(colour_dataset, "train")
    assert train == [shard.sha256 for shard in colour_dataset.splits["train"].shards]
    assert train != cache.split_digests(colour_dataset, "val")


@pytest.fixture
def places(colour_dataset, tmp_path):
    dataset = dataclasses.replace(colour_dataset, data_dir=str(tmp_path / "data"))
    return cache.places(dataset, str(tmp_path / "model"), "kept", "name.npy")


def write(path):
    with open(path, "wb") as file:
        np.save(file, np.arange(3))


def test_the_data_directory_comes_first(places, tmp_path):
    assert cache.find(places) is None
    assert places == [str(tmp_path / root / "kept" / "name.npy") for root in ("data", "model")]
    cache.keep(places, write)
    assert cache.find(places) == places[0]
    assert not os.path.exists(places[1])
    np.testing.assert_array_equal(np.load(places[0]), np.arange(3))


def test_the_model_directory_stands_in(places, tmp_path, caplog):
    (tmp_path / "data").write_text("a file in the way of the folder")
    with caplog.at_level(logging.WARNING):
        cache.keep(places, write)
    assert cache.find(places) == places[1]
    assert f"Cannot keep {places[0]}" in caplog.text


def test_what_cannot_be_kept_is_used_all_the_same(places, tmp_path, caplog):
    for name in ("data", "model"):
        (tmp_path / name).write_text("a file in the way of the folder")
    with caplog.at_level(logging.WARNING):
        cache.keep(places, write)
    assert cache.find(places) is None
    assert caplog.text.count("Cannot keep") == 2


def test_a_write_that_fails_leaves_nothing(places, tmp_path):
    def broken(path):
        write(path)
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        cache.keep(places, broken)
    assert cache.find(places) is None
    assert os.listdir(os.path.dirname(places[0])) == []

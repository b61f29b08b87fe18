"""The compact segmenter: it learns, repeats itself, is kept once and under a telling name."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

from oasis_tf.data import pipeline
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.metrics.segmentation import compact_segmenter
from oasis_tf.metrics.segmentation.compact_segmenter import SegmenterRecipe

RECIPE = SegmenterRecipe(height=64, width=64, steps=80, batch_size=8, widths=(8, 16, 16))


@pytest.fixture(scope="module")
def trained(colour_dataset):
    return compact_segmenter.train_segmenter(colour_dataset, RECIPE)


@pytest.fixture
def own_copy(colour_dataset, tmp_path):
    """The data set in a folder of this test's own, without what was kept beside it."""
    for entry in os.scandir(colour_dataset.data_dir):
        if entry.is_file():
            shutil.copy(entry, tmp_path)
    return PreparedDataset.load(str(tmp_path))


@pytest.fixture
def quick_training(monkeypatch):
    """Replaces training by an untrained network; returns the list of recipes asked for."""
    asked = []

    def untrained(dataset, recipe):
        asked.append(recipe)
        return compact_segmenter.build_network(3, recipe.widths, recipe.seed)

    monkeypatch.setattr(compact_segmenter, "train_segmenter", untrained)
    return asked


def test_learns_colours_and_never_answers_unknown(colour_dataset, trained):
    image, label_map = next(
        pipeline.evaluation_batches(
            colour_dataset.data_dir, "val", height=64, width=64, batch_size=5
        ).as_numpy_iterator()
    )
    predicted = compact_segmenter.Segmenter(trained, colour_dataset.label_space).segment(image)
    assert predicted.dtype == np.int32
    assert predicted.shape == label_map.shape
    assert predicted.min() >= 1
    known = label_map > 0
    assert (predicted == label_map)[known].mean() > 0.95


def test_takes_other_sizes_than_it_was_trained_on(colour_dataset, trained):
    image = np.zeros((1, 32, 96, 3), np.uint8)
    space = colour_dataset.label_space
    assert compact_segmenter.Segmenter(trained, space).segment(image).shape == (1, 32, 96)


def test_training_repeats_itself(colour_dataset):
    short = dataclasses.replace(RECIPE, steps=2, widths=(4, 4))
    first, again = (compact_segmenter.train_segmenter(colour_dataset, short) for _ in range(2))
    for a, b in zip(first.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_initial_weights_follow_the_seed():
    kernels = [
        compact_segmenter.build_network(3, RECIPE.widths, seed).weights[0].numpy()
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_default_network_is_compact():
    network = compact_segmenter.build_network(150, SegmenterRecipe.widths, 0)
    assert 300_000 < network.count_params() < 1_000_000
    assert network(np.zeros((2, 8, 24, 3), np.float32)).shape == (2, 8, 24, 150)


def test_default_steps_grow_with_the_data():
    assert compact_segmenter.default_steps(100) == 400
    assert compact_segmenter.default_steps(20210) == 6316  # five epochs of ADE20K by 16


def test_kept_beside_the_data_and_read_back(own_copy, tmp_path, quick_training):
    first = compact_segmenter.cached_segmenter(own_copy, RECIPE, str(tmp_path / "model"))
    again = compact_segmenter.cached_segmenter(own_copy, RECIPE, str(tmp_path / "model"))
    assert len(quick_training) == 1
    name = compact_segmenter.segmenter_key(own_copy, RECIPE) + ".keras"
    assert os.listdir(tmp_path / "segmenters") == [name]
    assert not (tmp_path / "model").exists()
    for a, b in zip(first.network.weights, again.network.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert first.protocol == again.protocol


def test_tells_what_decides_its_answers(own_copy, tmp_path, quick_training):
    one = compact_segmenter.cached_segmenter(own_copy, RECIPE, str(tmp_path / "model"))
    assert (one.name, one.classes) == ("compact", [1, 2, 3])
    assert one.protocol["digest"] == compact_segmenter.segmenter_key(own_copy, RECIPE)
    assert one.protocol["recipe"]["steps"] == RECIPE.steps
    assert json.loads(json.dumps(one.protocol)) == one.protocol
    assert "not comparable with published mIoU" in one.notes[0]


def test_kept_in_the_model_directory_where_the_data_cannot_be_written(
    own_copy, tmp_path, quick_training
):
    (tmp_path / "segmenters").write_text("a file in the way of the folder")
    for _ in range(2):
        compact_segmenter.cached_segmenter(own_copy, RECIPE, str(tmp_path / "model"))
    assert len(quick_training) == 1
    assert len(os.listdir(tmp_path / "model" / "segmenters")) == 1


def test_an_unreadable_file_is_named(own_copy, tmp_path, quick_training):
    path = tmp_path / "segmenters" / (compact_segmenter.segmenter_key(own_copy, RECIPE) + ".keras")
    path.parent.mkdir()
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match=rf"cannot be read: .*{path.name}.*Delete the file"):
        compact_segmenter.cached_segmenter(own_copy, RECIPE, str(tmp_path / "model"))


def other_values():
    """For every field of a recipe, one with only that field changed."""
    for field in dataclasses.fields(SegmenterRecipe):
        value = getattr(RECIPE, field.name)
        other = (8, 16, 24) if field.name == "widths" else value + 8
        yield dataclasses.replace(RECIPE, **{field.name: other})


def test_key_changes_with_everything_that_decides(colour_dataset):
    train = colour_dataset.splits["train"]
    shard = dataclasses.replace(train.shards[0], sha256="0" * 64)
    other_data = dataclasses.replace(train, shards=(shard,))
    other_names = dataclasses.replace(
        colour_dataset.label_space, class_names=("unknown", "red", "green", "violet")
    )
    keys = [
        compact_segmenter.segmenter_key(colour_dataset, RECIPE),
        compact_segmenter.segmenter_key(
            dataclasses.replace(colour_dataset, splits={"train": other_data}), RECIPE
        ),
        compact_segmenter.segmenter_key(
            dataclasses.replace(colour_dataset, label_space=other_names), RECIPE
        ),
        *(compact_segmenter.segmenter_key(colour_dataset, recipe) for recipe in other_values()),
    ]
    assert len(set(keys)) == len(keys) == 3 + len(dataclasses.fields(SegmenterRecipe))


def test_key_does_not_depend_on_the_place_or_the_validation_split(colour_dataset, own_copy):
    only_train = {"train": own_copy.splits["train"]}
    moved = dataclasses.replace(own_copy, splits=only_train)
    assert compact_segmenter.segmenter_key(moved, RECIPE) == compact_segmenter.segmenter_key(
        colour_dataset, RECIPE
    )


def test_sizes_that_do_not_halve_are_refused():
    with pytest.raises(ValueError, match="divisible by 8.*height=64, width=60"):
        SegmenterRecipe(64, 60, 10)

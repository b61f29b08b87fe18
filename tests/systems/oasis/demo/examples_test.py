"""Label maps to begin with: from files, from prepared data, and without either."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data.datasets import published_label_space
from oasis_tf.data.shapes import scene
from oasis_tf.io.label_files import resize_label_map
from oasis_tf.systems.oasis.demo import examples

SPACE = published_label_space("shapes")


@pytest.fixture(scope="module")
def data_dir(write_shapes):
    return write_shapes(2, 52)


def test_from_folder(tmp_path):
    for k in range(examples.MOST + 2):
        Image.fromarray(scene(2, k, 64, 32)[1]).save(tmp_path / f"scene{k:02}.png")
    found = examples.from_folder(str(tmp_path), SPACE, 32, 64)
    assert [name for name, _ in found] == [f"scene{k:02}" for k in range(examples.MOST)]
    for k in (0, 5):
        want = resize_label_map(scene(2, k, 64, 32)[1], 32, 64)
        np.testing.assert_array_equal(found[k][1], want)


def test_all_wrong_files_of_a_folder_are_told(tmp_path):
    for k in range(3):
        Image.new("L", (8, 8), 90 + k).save(tmp_path / f"{k}.png")
    with pytest.raises(
        ValueError, match="3 of the label files(.|\n)*0.png(.|\n)*2.png.* values 92"
    ):
        examples.from_folder(str(tmp_path), SPACE, 32, 64)


def test_from_data_is_spread_over_the_split(data_dir):
    found = examples.from_data(data_dir, SPACE, 64, 64)
    assert [name for name, _ in found] == [f"val_{k:02}" for k in range(0, 48, 2)]
    np.testing.assert_array_equal(found[3][1], scene(1, 6, 64, 64)[1])


def test_none_without_the_data(data_dir, tmp_path):
    assert examples.from_data("", SPACE, 64, 64) == []
    assert examples.from_data(str(tmp_path), SPACE, 64, 64) == []
    other = dataclasses.replace(SPACE, class_names=("air", *SPACE.class_names[1:]))
    assert examples.from_data(data_dir, other, 64, 64) == []
    (tmp_path / "dataset.json").write_text("{}")
    assert examples.from_data(str(tmp_path), SPACE, 64, 64) == []

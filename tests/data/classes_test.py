"""Classes by name."""

import numpy as np
import pytest

from oasis_tf.data.classes import class_ids, same_classes
from oasis_tf.data.datasets import folder_label_space, published_label_space

SHAPES = published_label_space("shapes")


def test_names_and_model_ids():
    assert class_ids(["sky", "Tree", 3, np.int64(5)], SHAPES) == [0, 8, 3, 5]
    assert class_ids("sun ", SHAPES) == [9]
    assert class_ids(4, SHAPES) == [4]
    assert class_ids(np.array([1, 2]), SHAPES) == [1, 2]


def test_digits_are_raw_ids():
    space = folder_label_space(3, unknown_label=255, class_names=["a", "1"])
    assert class_ids(["255", "0", "1"], space) == [0, 1, 2]  # "1" is a name, too
    assert class_ids([1], space) == [1]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["sky", "ski"], "No class is named 'ski'.*12 classes, among them: sky"),
        ("zzzz", "among them: sky, hill, grass"),
        ("99", "No class is named '99'"),
        ([], "at least one class"),
        (["sky", 0], "each class once. Received: sky, 0"),
        ([12], r"integer in 0\.\.11. Received: 12"),
        ([-1], "Received: -1"),
        ([True], "Received: True"),
        ([1.0], "Received: 1.0"),
        ([None], "Received: None"),
    ],
)
def test_what_is_no_class_is_refused(classes, message):
    with pytest.raises(ValueError, match=message):
        class_ids(classes, SHAPES)


def test_the_same_class_of_another_label_space_has_its_name():
    mine = folder_label_space(5, class_names=["boat", "Sky", "car", "sky", "unknown"])
    assert same_classes(mine, SHAPES) == [10, 0, None, 0, None]
    assert same_classes(SHAPES, mine) == [3, *[None] * 9, 0, None]


def test_the_unknown_label_is_the_same_whatever_its_place_and_name():
    known = folder_label_space(3, None, ["sky", "unknown", "road"])
    first, last = (folder_label_space(3, label, ["road", "sky"]) for label in (0, 255))
    assert same_classes(first, last) == [0, 1, 2]
    assert same_classes(first, known) == [None, 2, 0]
    assert same_classes(known, last) == [2, None, 1]

"""What `prepare` shows: pictures of records, counts of classes, classes that hardly occur."""

import dataclasses
import re

import numpy as np
import pytest

from oasis_tf.data import overview
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.data.tfrecord import PreparedDataset, ShardInfo, SplitInfo

LABELS = np.array([[0, 0, 1], [2, 2, 2]], np.uint8).repeat(20, 0).repeat(20, 1)


def counts(pixels, occurrences, num_examples, **space):
    """A data set of such counts, without files."""
    split = SplitInfo((ShardInfo("f", num_examples, 1, ""),), tuple(pixels), tuple(occurrences))
    space = folder_label_space(len(pixels), **space)
    return PreparedDataset("nowhere", space, {"train": split, "val": split})


def test_contact_sheet(tmp_path, write_dataset):
    images = [np.full((*LABELS.shape, 3), 10 * k, np.uint8) for k in range(9)]
    data_dir = write_dataset(tmp_path / "data", images, [LABELS] * 9, 3, num_shards=2)
    prepared = PreparedDataset.load(data_dir)
    sheet = overview.contact_sheet(prepared)
    rows = [sheet[k * 100 : k * 100 + 80] for k in range(8)]  # 7 lines of 14 pixels, gaps of 2
    colours = prepared.label_space.colorize(LABELS).repeat(2, 0).repeat(2, 1)
    # Shards hold records 0, 2, 4, … and 1, 3, …; four of nine are shown of both splits.
    for row, k in zip(rows, (0, 4, 8, 3) * 2, strict=True):
        np.testing.assert_array_equal(row[:, :120], 10 * k)
        np.testing.assert_array_equal(row[:, 194:314], colours)
        np.testing.assert_array_equal(row[:, 388:508], (colours.astype(int) + 10 * k) // 2)
        for line, index in enumerate((2, 0, 1), 1):  # by their share
            assert tuple(row[14 * line + 4, 582 + 8]) == prepared.label_space.palette[index]
    np.testing.assert_array_equal(overview.contact_sheet(prepared), sheet)


def test_large_pictures_and_long_legends_are_bounded(tmp_path, write_dataset):
    labels = np.arange(300).reshape(10, 30).repeat(30, 0).repeat(30, 1).astype(np.uint16)
    image = np.zeros((*labels.shape, 3), np.uint8)
    data_dir = write_dataset(tmp_path / "data", [image], [labels], 300)
    prepared = PreparedDataset.load(data_dir)
    names = ("tür", "木", *prepared.label_space.class_names[2:])
    space = dataclasses.replace(prepared.label_space, class_names=names)
    sheet = overview.contact_sheet(dataclasses.replace(prepared, label_space=space))
    assert sheet.shape == (2 * (98 + 2) - 2, 4 * (256 + 2) - 2, 3)


def test_table():
    table = overview.class_table(counts([10, 60, 30], [1, 4, 2], 4)).splitlines()
    assert table[0].split() == [
        "id",
        "class",
        *["train", "pixels", "images", "val", "pixels", "images"],
    ]
    assert table[1].split() == ["1", "class_1", "60.000%", "4", "60.000%", "4"]
    assert [row.split()[0] for row in table[1:]] == ["1", "2", "0"]
    long = overview.class_table(counts(range(1, 31), [1] * 30, 4)).splitlines()
    assert len(long) == 1 + 10 + 1 + 10 and "10 classes between" in long[11]
    assert long[1].split()[0] == "29" and long[-1].split()[0] == "0"
    old = overview.class_table(counts([10, 60], [], 4)).splitlines()
    assert old[1].split()[-1] == "?"


@pytest.mark.parametrize(
    ("pixels", "occurrences", "num_examples", "rare"),
    [
        ([10, 10, 10], [10, 99, 100], 100, None),
        ([10, 10, 10], [9, 99, 100], 100, "1 of 3 .*fewer than 10 .*: class_0 .9 images, 33.33"),
        ([10, 10, 10], [2, 15, 30], 30, r"fewer than 3 .*class_0"),
        ([10, 10, 0], [2, 1, 0], 4, r"1 of 3 classes hardly occur .*: class_2 \(never\)\."),
        ([1_000_000, 100, 99], [99, 99, 99], 99, r": class_2 \(99 images, 0\.0099%\), class_1"),
    ],
)
def test_rare_classes(pixels, occurrences, num_examples, rare):
    found = overview.rare_classes(counts(pixels, occurrences, num_examples))
    assert found is None if rare is None else re.search(rare, found), found


def test_rare_classes_are_known_ones_that_files_can_hold():
    assert overview.rare_classes(counts([0, 9, 9], [0, 9, 9], 9, unknown_label=2)) is None
    prepared = counts([9, 9, 0], [9, 9, 0], 9)
    space = dataclasses.replace(prepared.label_space, raw_ids=(0, 1, -1))
    assert overview.rare_classes(dataclasses.replace(prepared, label_space=space)) is None
    many = overview.rare_classes(counts([99, *[0] * 12], [9, *[0] * 12], 9))
    assert many.startswith("12 of 13") and "and 2 more. Models" in many

"""Label spaces: ids both ways, published classes, palettes and error texts."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis_tf.data import datasets
from oasis_tf.data.datasets import (
    LabelSpace,
    folder_label_space,
    generate_palette,
    lvis_label_space,
    published_label_space,
    read_class_names,
)

PUBLISHED = datasets.DATASETS[1:]


@pytest.mark.parametrize(
    ("dataset", "num_classes", "has_unknown", "some_names"),
    [
        ("ade20k", 151, True, {1: "wall", 21: "car", 150: "flag"}),
        ("ade_outdoors", 151, True, {1: "wall", 21: "car", 150: "flag"}),
        ("cityscapes", 35, True, {7: "road", 26: "car", 33: "bicycle"}),
        ("coco_stuff", 183, True, {1: "person", 12: "street sign", 92: "banner", 182: "wood"}),
        ("lvis", 1204, False, {0: "background"}),
        ("shapes", 12, False, {0: "sky", 11: "balloon"}),
    ],
)
def test_published_classes(dataset, num_classes, has_unknown, some_names):
    space = published_label_space(dataset)
    assert space.dataset == dataset
    assert (space.num_classes, space.has_unknown) == (num_classes, has_unknown)
    assert {k: space.class_names[k] for k in some_names} == some_names
    assert (space.class_names[0] == "unknown") == has_unknown
    assert len(set(space.class_names)) == num_classes
    assert space.dtype == (np.uint16 if num_classes > 256 else np.uint8)


def test_published_ids():
    ade, coco = published_label_space("ade20k"), published_label_space("coco_stuff")
    np.testing.assert_array_equal(ade.to_model_ids(np.arange(151), "x"), np.arange(151))
    np.testing.assert_array_equal(
        coco.to_model_ids(np.array([255, *range(182)]), "x"), np.arange(183)
    )
    with pytest.raises(ValueError, match="151"):
        ade.to_model_ids(np.array([151]), "x")
    with pytest.raises(ValueError, match="182"):
        coco.to_model_ids(np.array([182]), "x")


def test_cityscapes_has_the_label_ids_and_no_other_values():
    space = published_label_space("cityscapes")
    np.testing.assert_array_equal(space.to_model_ids(np.arange(34), "x"), np.arange(34))
    for wrong in (34, 255, 26001, -1, 70000):  # of train ids and instance ids, among others
        with pytest.raises(ValueError, match=rf"x: label values {wrong} are.*_labelIds\.png"):
            space.to_model_ids(np.array([7, wrong]), "x")
    # The class that no file can hold becomes unknown, not a value outside 8 bits.
    np.testing.assert_array_equal(space.to_raw_ids(np.arange(35)), [*range(34), 0])
    assert space.to_raw_ids(np.arange(35)).dtype == np.uint8
    assert space.palette[7] == (128, 64, 128)


@pytest.mark.parametrize(
    ("num_classes", "unknown", "raw", "model"),
    [
        (12, 11, [*range(12)], [*range(1, 12), 0]),
        (4, 0, [0, 1, 2, 3], [0, 1, 2, 3]),
        (4, 2, [0, 1, 2, 3], [1, 2, 0, 3]),
        (4, 255, [0, 1, 2, 255], [1, 2, 3, 0]),
        (4, None, [0, 1, 2, 3], [0, 1, 2, 3]),
        (300, 65535, [0, 298, 65535], [1, 299, 0]),
    ],
)
def test_folder_ids(num_classes, unknown, raw, model):
    space = folder_label_space(num_classes, unknown)
    mapped = space.to_model_ids(np.array(raw, np.uint16), "x")
    np.testing.assert_array_equal(mapped, model)
    assert mapped.dtype == space.dtype
    np.testing.assert_array_equal(space.to_raw_ids(mapped), raw)
    if num_classes == 4 and unknown == 255:
        with pytest.raises(ValueError, match="values 3 are outside"):
            space.to_model_ids(np.array([3]), "x")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_ids_round_trip(data):
    num_classes = data.draw(st.integers(2, 300))
    unknown = data.draw(st.none() | st.integers(0, 65535))
    space = folder_label_space(num_classes, unknown)
    assert sorted(set(space.raw_ids)) == sorted(space.raw_ids)
    known = [raw for raw in space.raw_ids if raw != unknown]
    assert known == sorted(known)  # known classes keep their order
    label_map = np.arange(num_classes).reshape(1, -1)
    raw = space.to_raw_ids(label_map)
    np.testing.assert_array_equal(space.to_model_ids(raw, "x"), label_map)


def test_wrong_values_are_named_with_file_and_remedy():
    space = folder_label_space(12, 11)
    raw = np.array([[0, 11, 12], [200, 255, 12]], np.uint8)
    with pytest.raises(ValueError) as error:
        space.to_model_ids(raw, "some/file.png")
    assert "some/file.png: label values 12, 200, 255 are outside" in str(error.value)
    assert "0…11" in str(error.value) and "--num_classes" in str(error.value)
    with pytest.raises(ValueError, match="12, 13, 14, 15, 16, 17, 18, 19, 20, 21 and 234 more"):
        space.to_model_ids(np.arange(256), "x")
    with pytest.raises(ValueError, match="values -1 are"):
        space.to_model_ids(np.array([-1]), "x")
    with pytest.raises(ValueError, match="float"):
        space.to_model_ids(np.zeros([2]), "x")


def test_model_ids_are_checked():
    space = folder_label_space(3)
    for method in (space.to_raw_ids, space.colorize):
        with pytest.raises(ValueError, match="0…2. Received: -1…3"):
            method(np.array([-1, 3]))
        with pytest.raises(ValueError, match="integers"):
            method(np.zeros([2]))


def test_colorize():
    space = folder_label_space(3)
    colors = space.colorize(np.array([[2, 0], [1, 1]]))
    assert colors.dtype == np.uint8 and colors.shape == (2, 2, 3)
    assert tuple(colors[0, 0]) == space.palette[2]


def test_description_of_each_class():
    space = published_label_space("cityscapes")
    classes = space.classes()
    assert [entry["id"] for entry in classes] == list(range(space.num_classes))
    assert tuple(entry["name"] for entry in classes) == space.class_names
    assert tuple(tuple(entry["color"]) for entry in classes) == space.palette
    assert tuple(entry["raw_id"] for entry in classes) == space.raw_ids


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_json_and_pickle_round_trip(dataset):
    space = published_label_space(dataset)
    space.to_model_ids(np.array([1]), "x")
    assert LabelSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
    assert pickle.loads(pickle.dumps(space)) == space


def test_json_with_other_fields_is_refused():
    values = published_label_space("shapes").to_json()
    old = values | {"others_are_unknown": True}  # of Cityscapes, once
    assert LabelSpace.from_json(old) == published_label_space("shapes")
    with pytest.raises(ValueError, match="has the fields"):
        LabelSpace.from_json(values | {"colour": 1})
    del values["raw_ids"]
    with pytest.raises(ValueError, match="has the fields"):
        LabelSpace.from_json(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"raw_ids": (0,)}, "2 names, 2 colours, 1 raw ids"),
        ({"raw_ids": (1, 1)}, "differ"),
        ({"raw_ids": (0, 65536)}, "65535"),
        ({"has_unknown": True}, 'named "unknown"'),
        ({"further_raw_ids": ((1, 0),)}, "differ"),
        ({"further_raw_ids": ((7, 2),)}, r"of model ids 0…1. Received: \[2\]"),
        ({"further_colors": ((7, 7, 7, -1),)}, "of model ids 0…1"),
    ],
)
def test_contradicting_attributes(change, message):
    values = {
        "dataset": "folder",
        "class_names": ("a", "b"),
        "palette": ((0, 0, 0), (1, 1, 1)),
        "has_unknown": False,
        "raw_ids": (0, 1),
    }
    with pytest.raises(ValueError, match=message):
        LabelSpace(**values | change)


def test_class_names_of_folders(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("road\n\n car \nvoid\n")
    names = read_class_names(str(path))
    assert names == ["road", "car", "void"]
    assert folder_label_space(3, None, names).class_names == ("road", "car", "void")
    assert folder_label_space(3, 2, names).class_names == ("unknown", "road", "car")
    assert folder_label_space(3, 0, names).class_names == ("unknown", "car", "void")
    assert folder_label_space(3, 255, names).class_names == ("unknown", "road", "car")
    assert folder_label_space(4, 1, names).class_names == ("unknown", "road", "car", "void")
    assert folder_label_space(3, 1).class_names == ("unknown", "class_0", "class_2")
    with pytest.raises(ValueError, match="4 or 5 class names are needed .* Received: 3"):
        folder_label_space(5, 1, names)
    with pytest.raises(ValueError, match="4 class names are needed"):
        folder_label_space(4, None, names)


@pytest.mark.parametrize(
    ("text", "message"), [("\n", "holds no name"), ("a\nb\na\n", "names a more than once")]
)
def test_bad_class_name_files(tmp_path, text, message):
    path = tmp_path / "names.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_class_names(str(path))
    assert str(path) in str(error.value)


def test_folder_arguments_are_checked():
    for num_classes, unknown in ((0, None), (1, 0), (65537, None)):
        with pytest.raises(ValueError, match=f"Received: num_classes={num_classes}"):
            folder_label_space(num_classes, unknown)
    for unknown in (-1, 65536):
        with pytest.raises(ValueError, match=f"Received: unknown_label={unknown}"):
            folder_label_space(3, unknown)


def test_unknown_data_set_lists_the_known_ones():
    with pytest.raises(ValueError, match="ade20k, ade_outdoors, cityscapes.*Received: dataset='x'"):
        published_label_space("x")


def test_lvis_names_come_from_its_categories():
    space = lvis_label_space(["apple", "pear"])
    assert space.class_names == ("background", "apple", "pear")
    assert space.raw_ids == (0, 1, 2) and not space.has_unknown


def test_palettes_are_distinct_and_extend_each_other():
    palette = np.array(generate_palette(1204))
    assert len(np.unique(palette, axis=0)) == 1204
    assert tuple(palette[0]) == (0, 0, 0)
    assert generate_palette(12) == generate_palette(1204)[:12]
    first = palette[:20].astype(int)
    distance = np.abs(first[:, None] - first[None]).sum(-1) + 999 * np.eye(20, dtype=int)
    assert distance.min() > 60
    repeated = generate_palette(datasets.DISTINCT_COLORS + 5)
    assert repeated[-5:] == repeated[:5]

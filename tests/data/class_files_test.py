"""Classes of own data: lists of raw ids, and CSV files with ids, names and colours."""

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data.class_files import folder_classes, read_classes
from oasis_tf.data.datasets import LabelSpace, listed_label_space
from oasis_tf.data.layouts import find_examples
from oasis_tf.io import label_files

TABLE = """id,name,red,green,blue
7,road,128,64,128
0,sky,70,130,180
200,road,128,64,129
30,"tree, old",,,
"""


def table(tmp_path, text, **encoding):
    path = tmp_path / "classes.csv"
    path.write_text(text, **{"encoding": "utf-8"} | encoding)
    return str(path)


def test_a_file_with_ids_names_and_colours(tmp_path):
    space, has_colors = read_classes(table(tmp_path, TABLE, encoding="utf-8-sig"))
    assert has_colors and not space.has_unknown
    assert space.class_names == ("road", "sky", "tree, old")
    assert space.raw_ids == (7, 0, 30) and space.further_raw_ids == ((200, 0),)
    assert space.palette[:2] == ((128, 64, 128), (70, 130, 180))
    assert space.further_colors == ((128, 64, 129, 0),)
    assert len({*space.palette, (128, 64, 129)}) == 4
    raw = np.array([[7, 200, 0, 30]], np.uint8)
    label_map = space.to_model_ids(raw, "x")
    np.testing.assert_array_equal(label_map, [[0, 0, 1, 2]])
    np.testing.assert_array_equal(space.to_raw_ids(label_map), [[7, 7, 0, 30]])
    assert LabelSpace.from_json(space.to_json()) == space
    assert LabelSpace.from_classes("folder", False, space.classes()) == space


def test_a_file_without_colours(tmp_path):
    space, has_colors = read_classes(table(tmp_path, "ID, Name\n\n0,a\n255,b\n"))
    assert not has_colors
    assert (space.class_names, space.raw_ids) == (("a", "b"), (0, 255))
    assert len(set(space.palette)) == 2
    assert space.to_json().keys() == listed_label_space([0]).to_json().keys()


def test_the_unknown_label_of_a_file(tmp_path):
    path = table(tmp_path, "id,name\n0,sky\n9,void\n7,road\n8,void\n")
    for label, raw_ids in ((9, (9, 0, 7)), (255, (255, 0, 9, 7))):
        space, _ = read_classes(path, label)
        assert space.has_unknown and space.class_names[0] == "unknown"
        assert space.raw_ids == raw_ids
    assert read_classes(path, 9)[0].further_raw_ids == ((8, 0),)
    space, _ = read_classes(table(tmp_path, "id,name\n0,sky\n255,unknown\n"))
    assert space.has_unknown and space.raw_ids == (255, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with the line id,name or id,name,red,green,blue.*an empty file"),
        ("0,sky\n", "must begin.*Received: 0,sky"),
        ("id;name\n0;sky\n", "commas between the columns. Received: id;name"),
        ("id,name\n", "no class follows the header"),
        ("id,name\n0,sky,1\n", "line 2: 2 values are needed. Received: 0,sky,1"),
        ("id,name\nx,sky\n-1,b\n70000,c\n", "line 2: id must.*: x; line 3.*-1; line 4.*70000"),
        ("id,name\n0,\n", "line 2: a class needs a name"),
        ("id,name\n0,a\n1,b\n0,c\n", "line 4: the id 0 stands in line 2 already"),
        ("id,name,red,green,blue\n0,a,1,2,\n", "line 2: blue must be.*Received: nothing"),
        ("id,name,red,green,blue\n0,a,1,2,256\n", "line 2: blue must be .*0…255.*: 256"),
        ("id,name,red,green,blue\n0,a,1,2,3\n1,b,1,2,3\n", "line 3: the colour 1,2,3 is that of a"),
        ("id,name\n0,unknown\n", "names no class but unknown"),
        ('id,name\n0,"sky\n', "line 2: .*Write it as CSV"),
        ("id,name\n" + "x,y\n" * 12, "line 11: id must be.*; and 2 more"),
    ],
)
def test_wrong_files_are_refused_with_file_line_and_value(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read_classes(table(tmp_path, text))
    assert "classes.csv" in str(error.value)


def test_files_in_other_encodings_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="classes.csv.*UTF-8"):
        read_classes(table(tmp_path, TABLE, encoding="utf-16"))


def test_lists_of_raw_ids(tmp_path):
    space, label_format = folder_classes(raw_ids="0, 255")
    assert label_format == "ids"
    assert (space.raw_ids, space.class_names) == ((0, 255), ("class_0", "class_255"))
    assert folder_classes(raw_ids="201,0,7")[0].raw_ids == (201, 0, 7)
    (tmp_path / "names.txt").write_text("ground\nbuilding\nwater\n")
    named, _ = folder_classes(
        raw_ids="201,7,0", unknown_label=7, class_names=str(tmp_path / "names.txt")
    )
    assert (named.raw_ids, named.class_names) == ((7, 201, 0), ("unknown", "ground", "water"))
    assert folder_classes(raw_ids="0,7", unknown_label=255, num_classes=3)[0].raw_ids == (255, 0, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"raw_ids": "0,,7"}, "separated by commas.*Received: --raw_ids=0,,7"),
        ({"raw_ids": ""}, "separated by commas"),
        ({"raw_ids": "0,7,0"}, "that differ.*wrong are 0"),
        ({"raw_ids": "0,65536"}, "wrong are 65536"),
        ({"raw_ids": "7", "unknown_label": 7}, "no class"),
        ({"raw_ids": "0,255", "num_classes": 3}, "gives 2 classes.*--num_classes=3. Leave it out"),
        ({"raw_ids": "0", "classes": "x.csv"}, "leave out --raw_ids"),
        ({"class_names": "n", "classes": "x.csv"}, "leave out --raw_ids and --class_names"),
        ({"raw_ids": "0,1", "label_format": "colors"}, "needs --classes=FILE.csv"),
        ({}, "needs --num_classes, --raw_ids or --classes"),
    ],
)
def test_contradicting_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        folder_classes(**options)


@pytest.mark.parametrize("label_suffix", [".png", ".bmp", ".tif"])
def test_colours_of_own_data_become_those_of_the_model(tmp_path, write_pairs, label_suffix):
    write_pairs(tmp_path / "i", tmp_path / "l", ["a"])
    ids = np.random.default_rng(0).integers(0, 2, (10, 12))
    colours = np.array([(128, 64, 128), (70, 130, 180)], np.uint8)[ids]
    Image.fromarray(colours).save(tmp_path / "l/a.png")
    splits, space = find_examples(
        "folder", str(tmp_path), image_dir="i", label_dir="l", classes=table(tmp_path, TABLE)
    )
    (pair,) = splits["train"]
    path = tmp_path / f"a{label_suffix}"
    Image.fromarray(colours).save(path)
    assert label_files.read_label_map(path, space).tolist() == ids.tolist()
    pixels = pair.encode(space).class_pixels
    np.testing.assert_array_equal(pixels, np.bincount(ids.ravel(), minlength=3))
    label_files.write_label_map(tmp_path / "b.png", ids, space)
    np.testing.assert_array_equal(Image.open(tmp_path / "b.png").convert("RGB"), colours)

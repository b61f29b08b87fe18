"""The layout of every data set as a small folder tree, and the errors for broken ones."""

import json

import pytest

from oasis_tf.data import layouts
from oasis_tf.data.layouts import find_examples


def keys(splits):
    return {split: [source.key for source in sources] for split, sources in splits.items()}


# === Folders ===


def test_folder_with_one_source(tmp_path, write_pairs):
    write_pairs(tmp_path / "train/images", tmp_path / "train/labels", ["b", "a", "sub/c"])
    write_pairs(tmp_path / "val/images", tmp_path / "val/labels", ["d"])
    splits, space = find_examples("folder", str(tmp_path), num_classes=12, unknown_label=11)
    assert keys(splits) == {"train": ["a", "b", "sub/c"], "val": ["d"]}
    assert space.num_classes == 12 and space.has_unknown
    assert splits["val"][0].label_path == str(tmp_path / "val/labels/d.png")


def test_folders_one_by_one(tmp_path, write_pairs):
    write_pairs(tmp_path / "i", tmp_path / "l", ["a"], image_suffix=".JPG", label_suffix=".PNG")
    write_pairs(tmp_path / "vi", tmp_path / "vl", ["b"], image_suffix=".png")
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\n")
    folders = {"image_dir": "i", "label_dir": "l", "val_image_dir": "vi", "val_label_dir": "vl"}
    splits, space = find_examples(
        "folder", str(tmp_path), num_classes=2, class_names=str(names), **folders
    )
    assert keys(splits) == {"train": ["a"], "val": ["b"]}
    assert space.class_names == ("one", "two")
    absolute = {name: str(tmp_path / folder) for name, folder in folders.items()}
    assert keys(find_examples("folder", None, num_classes=2, **absolute)[0]) == keys(splits)


def test_validation_is_optional(tmp_path, write_pairs):
    write_pairs(tmp_path / "train/images", tmp_path / "train/labels", ["a"])
    splits, _ = find_examples("folder", str(tmp_path), num_classes=4)
    assert list(splits) == ["train"]


def test_unpaired_files_are_all_counted_and_ten_named(tmp_path, write_pairs):
    write_pairs(tmp_path / "i", tmp_path / "l", [f"{k:02d}" for k in range(15)])
    for k in range(12):
        (tmp_path / "l" / f"{k:02d}.png").unlink()
    (tmp_path / "i" / "14.jpg").unlink()
    with pytest.raises(ValueError) as error:
        layouts.pair_folders(str(tmp_path / "i"), str(tmp_path / "l"))
    text = str(error.value)
    assert f"no label map in {tmp_path}/l for 12 of them" in text
    assert f"{tmp_path}/i/09.jpg and 2 more" in text and "10.jpg" not in text
    assert f"no image in {tmp_path}/i for 1 of them ({tmp_path}/l/14.png)" in text
    assert "Add or remove" in text


def test_unpaired_files_of_both_splits_are_told_at_once(tmp_path, write_pairs):
    for split in ("train", "val"):
        write_pairs(tmp_path / split / "images", tmp_path / split / "labels", ["a", "b"])
        (tmp_path / split / "labels/b.png").unlink()
    with pytest.raises(ValueError, match=r"both splits.*\n.*train/images/b.jpg.*\n.*val/images/b"):
        find_examples("folder", str(tmp_path), num_classes=4)


def test_suffixes_hold_for_both_splits(tmp_path, write_pairs):
    for split in ("train", "val"):
        write_pairs(tmp_path / split, tmp_path / split, ["a", "b"], label_suffix="_L.png")
    folders = {"image_dir": "train", "label_dir": "train"}
    folders |= {"val_image_dir": "val", "val_label_dir": "val"}
    with pytest.raises(ValueError, match="train/a_L.png.*--label_suffix=_L.png(.|\n)*val/a_L.png"):
        find_examples("folder", str(tmp_path), num_classes=4, **folders)
    suffixes = {"image_suffix": ".jpg", "label_suffix": "_L.png"}
    splits, _ = find_examples("folder", str(tmp_path), num_classes=4, **folders, **suffixes)
    assert keys(splits) == {"train": ["a", "b"], "val": ["a", "b"]}
    assert splits["val"][1].label_path == str(tmp_path / "val/b_L.png")


# === A fraction for validation ===


def test_examples_keep_their_split_when_others_come_or_go(tmp_path, write_pairs):
    write_pairs(tmp_path / "i", tmp_path / "l", [f"{k:03}" for k in range(100)])
    options = {"num_classes": 4, "image_dir": "i", "label_dir": "l", "val_fraction": 0.2}
    splits, _ = find_examples("folder", str(tmp_path), **options)
    whole = keys(splits)
    assert 10 < len(whole["val"]) < 30 and sorted(whole["train"] + whole["val"]) == [
        f"{k:03}" for k in range(100)
    ]
    other, _ = find_examples("folder", str(tmp_path), seed=1, **options)
    assert keys(other)["val"] != whole["val"]
    half = [source for split in splits.values() for source in split if int(source.key) % 2]
    assert keys(layouts.split_off(half, 0.2))["val"] == [k for k in whole["val"] if int(k) % 2]
    more = keys(layouts.split_off(splits["train"] + splits["val"], 0.4))["val"]
    assert set(whole["val"]) < set(more)


def test_neither_split_is_empty(tmp_path, write_pairs):
    write_pairs(tmp_path / "i", tmp_path / "l", ["a", "b", "c"])
    pairs = layouts.pair_folders(str(tmp_path / "i"), str(tmp_path / "l"))
    for fraction, sizes in ((1e-9, (2, 1)), (1 - 1e-9, (1, 2))):
        splits = layouts.split_off(pairs, fraction)
        assert (len(splits["train"]), len(splits["val"])) == sizes
    for fraction, seed, sources in (
        (0, 0, pairs),
        (1, 0, pairs),
        (0.5, -1, pairs),
        (0.5, 0, pairs[:1]),
    ):
        with pytest.raises(ValueError, match=f"--val_fraction={fraction}, --seed={seed} and"):
            layouts.split_off(sources, fraction, seed)


def test_empty_and_missing_folders(tmp_path, write_pairs):
    write_pairs(tmp_path / "i", tmp_path / "l", ["a"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        layouts.pair_folders(str(tmp_path / "empty"), str(tmp_path / "l"))
    with pytest.raises(ValueError, match="empty holds no label files"):
        layouts.pair_folders(str(tmp_path / "i"), str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="absent is not a folder"):
        layouts.pair_folders(str(tmp_path / "absent"), str(tmp_path / "l"))


def test_ambiguous_names(tmp_path, write_pairs):
    write_pairs(tmp_path / "i", tmp_path / "l", ["a"])
    write_pairs(tmp_path / "i", tmp_path / "l", ["a"], image_suffix=".png")
    with pytest.raises(ValueError, match="unique.*1 of them .*a.jpg and .*a.png"):
        layouts.pair_folders(str(tmp_path / "i"), str(tmp_path / "l"))


# === Published data sets ===


@pytest.fixture
def ade(tmp_path, write_pairs):
    """ADEChallengeData2016 with three training images and one validation image."""
    for folder, names in (
        ("training", ["ADE_train_1", "ADE_train_2", "ADE_train_3"]),
        ("validation", ["ADE_val_1"]),
    ):
        write_pairs(tmp_path / "images" / folder, tmp_path / "annotations" / folder, names)
    (tmp_path / "sceneCategories.txt").write_text(
        "ADE_train_1 street\nADE_train_2 bedroom\nADE_train_3 beach\nADE_val_1 street\n"
    )
    return tmp_path


def test_ade20k(ade):
    splits, space = find_examples("ade20k", str(ade))
    assert keys(splits) == {
        "train": ["ADE_train_1", "ADE_train_2", "ADE_train_3"],
        "val": ["ADE_val_1"],
    }
    assert splits["train"][0].image_path == str(ade / "images/training/ADE_train_1.jpg")
    assert splits["train"][0].label_path == str(ade / "annotations/training/ADE_train_1.png")
    assert (space.dataset, space.num_classes) == ("ade20k", 151)


def test_ade_outdoors(ade):
    scene_list = ade / "outdoor.txt"
    scene_list.write_text("street\n\nbeach\n")
    splits, space = find_examples("ade_outdoors", str(ade), scene_list=str(scene_list))
    assert keys(splits) == {"train": ["ADE_train_1", "ADE_train_3"], "val": ["ADE_val_1"]}
    assert (space.dataset, space.num_classes) == ("ade_outdoors", 151)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("street\nmoon\n", "outdoor.txt names scenes that .*Categories.txt does not have.*moon"),
        ("\n", "outdoor.txt names no scene"),
        ("beach\n", "No val image"),
    ],
)
def test_bad_scene_lists(ade, text, message):
    scene_list = ade / "outdoor.txt"
    scene_list.write_text(text)
    with pytest.raises(ValueError, match=message):
        find_examples("ade_outdoors", str(ade), scene_list=str(scene_list))


def test_cityscapes(tmp_path, write_pairs):
    for split, names in (("train", ["bonn/bonn_0", "aachen/aachen_1"]), ("val", ["ulm/ulm_2"])):
        write_pairs(
            tmp_path / "leftImg8bit" / split,
            tmp_path / "gtFine" / split,
            names,
            image_suffix="_leftImg8bit.png",
            label_suffix="_gtFine_labelIds.png",
        )
        write_pairs(  # other files in the official archives
            tmp_path / "other",
            tmp_path / "gtFine" / split,
            names,
            label_suffix="_gtFine_instanceIds.png",
        )
    splits, space = find_examples("cityscapes", str(tmp_path))
    assert keys(splits) == {"train": ["aachen/aachen_1", "bonn/bonn_0"], "val": ["ulm/ulm_2"]}
    label_path = tmp_path / "gtFine/val/ulm/ulm_2_gtFine_labelIds.png"
    assert splits["val"][0].label_path == str(label_path)
    assert space.num_classes == 35
    label_path.unlink()
    with pytest.raises(ValueError, match="holds no .*_gtFine_labelIds.png"):
        find_examples("cityscapes", str(tmp_path))


def test_coco_stuff(tmp_path, write_pairs):
    for split, names in (("train", ["000000000009"]), ("val", ["000000000139"])):
        write_pairs(tmp_path / f"{split}_img", tmp_path / f"{split}_label", names)
    splits, space = find_examples("coco_stuff", str(tmp_path))
    assert keys(splits) == {"train": ["000000000009"], "val": ["000000000139"]}
    assert space.num_classes == 183


@pytest.fixture
def lvis_dir(tmp_path, write_pairs):
    """LVIS with one image per split; the validation image comes from COCO's training folder."""
    pytest.importorskip("pycocotools")
    write_pairs(tmp_path / "train2017", tmp_path / "unused", ["000000000001", "000000000002"])
    for split, image_id in (("train", 1), ("val", 2)):
        values = {
            "categories": [{"id": 2, "name": "pear"}, {"id": 1, "name": "apple"}],
            "images": [
                {
                    "id": image_id,
                    "height": 10,
                    "width": 12,
                    "coco_url": f"http://x.org/train2017/{image_id:012d}.jpg",
                }
            ],
            "annotations": [
                {
                    "id": 7,
                    "image_id": image_id,
                    "category_id": 2,
                    "area": 16.0,
                    "segmentation": [[2.0, 1.0, 6.0, 1.0, 6.0, 5.0, 2.0, 5.0]],
                }
            ],
        }
        (tmp_path / f"lvis_v1_{split}.json").write_text(json.dumps(values))
    return tmp_path


def edit_annotations(folder, split, edit):
    path = folder / f"lvis_v1_{split}.json"
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def test_lvis(lvis_dir):
    splits, space = find_examples("lvis", str(lvis_dir))
    assert keys(splits) == {"train": ["train2017/000000000001"], "val": ["train2017/000000000002"]}
    assert space.class_names == ("background", "apple", "pear") and not space.has_unknown
    example = splits["val"][0].encode(space)
    assert list(example.class_pixels) == [104, 0, 16]
    (lvis_dir / "images").mkdir()
    (lvis_dir / "train2017").rename(lvis_dir / "images/train2017")
    (lvis_dir / "annotations").mkdir()
    (lvis_dir / "lvis_v1_val.json").rename(lvis_dir / "annotations/lvis_v1_val.json")
    assert keys(find_examples("lvis", str(lvis_dir))[0]) == keys(splits)


@pytest.mark.parametrize(
    "url",
    [
        "http://x.org/../2.jpg",
        "../..",
        "http://x.org/a//",
        "C:\\a/..\\2.jpg",
        "a/2\0.jpg",
        "c:2.jpg",
    ],
)
def test_lvis_images_lie_in_the_source(lvis_dir, url):
    (lvis_dir.parent / "2.jpg").touch()
    edit_annotations(lvis_dir, "val", lambda values: values["images"][0].update(coco_url=url))
    with pytest.raises(
        ValueError, match=r"lvis_v1_val.json names .* plain names .*: coco_url of 1"
    ):
        find_examples("lvis", str(lvis_dir))


def test_lvis_folders_may_be_links_to_other_places(lvis_dir):
    (lvis_dir / "train2017").rename(lvis_dir.parent / "train2017")
    (lvis_dir / "train2017").symlink_to(lvis_dir.parent / "train2017")
    splits, _ = find_examples("lvis", str(lvis_dir))
    assert keys(splits)["val"] == ["train2017/000000000002"]


@pytest.mark.parametrize("text", ['{"images": []}', "[]", '{"images": [', "\0" * 9])
def test_lvis_files_that_are_none(lvis_dir, text):
    (lvis_dir / "lvis_v1_val.json").write_text(text)
    with pytest.raises(ValueError, match="lvis_v1_val.json (is not a file of LVIS|must be text)"):
        find_examples("lvis", str(lvis_dir))


def test_lvis_missing_files(lvis_dir):
    (lvis_dir / "train2017/000000000002.jpg").unlink()
    with pytest.raises(ValueError, match="lvis_v1_val.json annotates are missing: 1 of them.*002"):
        find_examples("lvis", str(lvis_dir))
    (lvis_dir / "lvis_v1_train.json").unlink()
    with pytest.raises(FileNotFoundError, match="lvis_v1_train.json is missing"):
        find_examples("lvis", str(lvis_dir))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda v: v["annotations"][0].update(category_id=3), "annotation 7 has category 3"),
        (lambda v: v["categories"][0].update(name="plum"), "other categories than the training"),
        (lambda v: v["categories"][0].update(id=5), "category ids must be 1…2 without gaps"),
        (lambda v: v["images"].clear(), "annotates no image"),
    ],
)
def test_lvis_contradictions(lvis_dir, edit, message):
    edit_annotations(lvis_dir, "val", edit)
    with pytest.raises(ValueError, match=message) as error:
        find_examples("lvis", str(lvis_dir))
    assert "lvis_v1_val.json" in str(error.value)


def test_shapes():
    splits, space = find_examples("shapes", None, num_train=3, num_val=2, height=16, seed=4)
    assert keys(splits)["val"] == ["val_0000000", "val_0000001"]
    assert len(splits["train"]) == 3 and space.num_classes == 12
    example = splits["train"][0].encode(space)
    assert (example.height, example.width) == (16, 64)
    other, _ = find_examples("shapes", None, num_train=99, num_val=2, height=16, seed=4)
    assert other["val"] == splits["val"]  # validation does not depend on num_train
    assert {source.index for source in splits["train"]}.isdisjoint(
        source.index for source in splits["val"]
    )


# === Options ===


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("ade", {}, "must be one of folder, ade20k.*Received: --dataset=ade"),
        ("folder", {}, "--dataset=folder needs --num_classes"),
        ("folder", {"num_classes": 2, "scene_list": "x"}, "takes --image_dir.*Received: --scene_"),
        ("folder", {"num_classes": 2, "image_dir": "i"}, "--image_dir and --label_dir must be"),
        ("folder", {"num_classes": 2, "seed": 3}, "--seed only with --val_fraction"),
        (
            "folder",
            {"num_classes": 2, "val_image_dir": "i", "val_label_dir": "l", "val_fraction": 0.1},
            "--val_fraction makes .* there are validation folders",
        ),
        ("folder", {"num_classes": 2, "val_image_dir": "i"}, "--val_image_dir and --val_label_dir"),
        ("ade_outdoors", {}, "needs --scene_list"),
        ("ade20k", {"num_classes": 2}, "takes only --source. Received: --num_classes"),
        ("shapes", {}, "takes --num_train.*Received: --source"),
    ],
)
def test_options_are_checked(tmp_path, write_pairs, dataset, options, message):
    write_pairs(tmp_path / "train/images", tmp_path / "train/labels", ["a"])
    write_pairs(tmp_path / "i", tmp_path / "l", ["a"])
    if "val_image_dir" in options:
        options = options | {"image_dir": "i", "label_dir": "l"}
    with pytest.raises(ValueError, match=message):
        find_examples(dataset, str(tmp_path), **options)


def test_sources_are_checked(tmp_path):
    with pytest.raises(ValueError, match="--dataset=lvis needs --source"):
        find_examples("lvis", None)
    with pytest.raises(ValueError, match="absent is not a folder"):
        find_examples("ade20k", str(tmp_path / "absent"))
    with pytest.raises(ValueError, match="needs --image_dir and --label_dir, or a --source"):
        find_examples("folder", None, num_classes=2)
    for name, value in (("num_train", 0), ("num_val", 0), ("height", 7), ("seed", -1)):
        with pytest.raises(ValueError, match=f"{name}={value}"):
            find_examples("shapes", None, **{name: value})

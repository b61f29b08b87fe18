"""What the two files may hold, what is kept of them, and what is refused."""

import json
import sys

import numpy as np
import pytest

from oasis_tf.metrics.lvis.files import read_detections, read_truth

pytest.importorskip("pycocotools")

SQUARE = [[2.0, 1.0, 6.0, 1.0, 6.0, 5.0, 2.0, 5.0]]


def runs(height, width):
    return {"size": [height, width], "counts": [height, height, height * (width - 2)]}


def annotations():
    image = {"height": 10, "width": 12, "neg_category_ids": [], "not_exhaustive_category_ids": []}
    return {
        "categories": [{"id": 2, "name": "pear"}, {"id": 1, "name": "apple"}],
        "images": [image | {"id": 5, "neg_category_ids": [1]}, image | {"id": 4, "width": 20}],
        "annotations": [
            {"image_id": 4, "category_id": 2, "segmentation": SQUARE},
            {"image_id": 5, "category_id": 2, "segmentation": SQUARE},
            {"image_id": 5, "category_id": 2, "segmentation": runs(10, 12)},
        ],
    }


def detection(image_id=5, category_id=2, score=0.5, segmentation=None):
    return {
        "image_id": image_id,
        "category_id": category_id,
        "score": score,
        "segmentation": segmentation or runs(8, 8),
    }


@pytest.fixture
def written(tmp_path):
    """function(value) -> path of a file that holds it, as JSON unless it is text."""

    def write(value):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return str(path)

    return write


@pytest.fixture
def truth(written):
    return read_truth(written(annotations()))


def test_truth(truth):
    assert list(truth.class_names.items()) == [(1, "apple"), (2, "pear")]
    assert truth.sizes == {4: (10, 20), 5: (10, 12)} and truth.all_images == {4, 5}
    assert {c: {i: len(m) for i, m in by.items()} for c, by in truth.instances.items()} == {
        2: {4: 1, 5: 2}
    }
    judged = {(i, c): truth.is_judged(i, c) for i in (4, 5) for c in (1, 2)}
    assert judged == {(4, 1): False, (4, 2): True, (5, 1): True, (5, 2): True}


def test_truth_of_some_images(written):
    path = written(annotations())
    truth = read_truth(path, [np.int64(4)])
    assert list(truth.sizes) == [4] and truth.all_images == {4, 5}
    assert list(truth.instances[2]) == [4]
    with pytest.raises(ValueError, match=r"2 ids, 1 of them unknown \[6\]"):
        read_truth(path, [4, 6])
    with pytest.raises(ValueError, match="at least one. Received: 0 ids"):
        read_truth(path, [])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda v: v.pop("categories"), "must be a JSON object with `categories`"),
        (lambda v: v.update(images={}), "`images` must be a list"),
        (lambda v: v["categories"].clear(), "ids and names that are unique, one at least"),
        (lambda v: v["categories"][0].update(name="apple"), "ids and names that are unique"),
        (lambda v: v["categories"][0].update(id=1), "ids and names that are unique"),
        (lambda v: v["categories"][0].update(id="2"), "category entry 0: `id` must be a positive"),
        (lambda v: v["categories"][1].pop("name"), "category entry 1 must be .* with `name`"),
        (lambda v: v["images"][1].update(id=5), "image ids must be unique"),
        (lambda v: v["images"][1].update(width=0), "image entry 1: `width` must be a positive int"),
        (
            lambda v: v["images"][0].pop("neg_category_ids"),
            "image entry 0 must be a JSON object with `neg_category_ids`",
        ),
        (
            lambda v: v["images"][0].update(not_exhaustive_category_ids=[3]),
            "image entry 0: category id 3 is not among the 2 of the annotations",
        ),
        (
            lambda v: v["annotations"][2].update(image_id=7),
            "entry 2: image id 7 is not among",
        ),
        (
            lambda v: v["annotations"][1].update(category_id=0),
            "entry 1: category id 0 is not amo",
        ),
        (lambda v: v["annotations"][0].pop("segmentation"), "entry 0 must be .* `segmentation`"),
        (lambda v: v["annotations"][0].update(segmentation=[]), "entry 0: every mask needs a poly"),
        (
            lambda v: v["annotations"][2].update(segmentation=runs(12, 10)),
            "annotation entry 2: its mask and its image must have the same size",
        ),
        (lambda v: v["annotations"].clear(), "annotates no instance in the 2 images evaluated"),
    ],
)
def test_damaged_annotations_are_refused(written, edit, message):
    values = annotations()
    edit(values)
    with pytest.raises(ValueError, match=message) as caught:
        read_truth(written(values))
    assert "0.json" in str(caught.value)


def test_annotations_that_are_not_json(written, tmp_path):
    with pytest.raises(ValueError, match="0.json is not JSON"):
        read_truth(written("{"))
    with pytest.raises(ValueError, match="must be a JSON object with `categories`, `images`, `ann"):
        read_truth(written([1]))
    with pytest.raises(FileNotFoundError):
        read_truth(str(tmp_path / "none.json"))


def scores_of(found):
    return {
        (category, image): [score for score, _ in detections]
        for category, by_image in found.items()
        for image, detections in by_image.items()
    }


def test_detections_are_ranked_and_limited_by_image(written, truth):
    """Class 1 is judged in image 5 alone, but takes a place in image 4 as well."""
    entries = [
        detection(4, 2, 0.1), detection(5, 2, 0.2), detection(4, 1, 0.9), detection(5, 1, 0.4),
        detection(4, 2, 0.3), detection(5, 2, 0.7), detection(4, 2, 2),
    ]  # fmt: skip
    found, num_images = read_detections(written(entries), truth)
    assert scores_of(found) == {(2, 4): [2, 0.3, 0.1], (2, 5): [0.7, 0.2], (1, 5): [0.4]}
    assert num_images == 2 and found[2][4][0][1].size == (8, 8)
    found, num_images = read_detections(written(entries), truth, max_per_image=2)
    assert scores_of(found) == {(2, 4): [2], (2, 5): [0.7], (1, 5): [0.4]}


def test_detections_of_other_images_are_left_out(written):
    truth = read_truth(written(annotations()), [4])
    found, num_images = read_detections(written([detection(4), detection(5)]), truth)
    assert scores_of(found) == {(2, 4): [0.5]} and num_images == 1
    with pytest.raises(ValueError, match=r"no detection in the 1 images .*\(of 2 entries\)"):
        read_detections(written([detection(5), detection(5)]), truth)


@pytest.mark.parametrize(
    "sizes",
    [
        [(4, runs(10, 20)), (5, runs(10, 12))],  # as annotated
        [(4, runs(10, 20)), (5, SQUARE)],
        [(4, runs(8, 9)), (5, runs(8, 9))],  # one size
        [(4, runs(10, 12)), (5, runs(10, 12))],
        [(4, runs(10, 12)), (5, SQUARE)],
    ],
)
def test_consistent_sizes(written, truth, sizes):
    found, _ = read_detections(written([detection(i, segmentation=s) for i, s in sizes]), truth)
    assert {i: [(0.5, m.size)] for i, [(_, m)] in found[2].items()} == {
        i: [(0.5, tuple(s["size"]) if isinstance(s, dict) else (10, 12))] for i, s in sizes
    }


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([(5, 12, 10), (4, 20, 10)], r"12×10 in entry 0, whose .* at 10×12, and 20×10 in entry 1"),
        ([(5, 10, 12), (4, 8, 8)], r"8×8 in entry 1, whose .* at 10×20, and 10×12 in entry 0"),
        ([(5, 8, 8), (5, 8, 8), (5, 8, 9)], r"8×8 in entry 0, whose .* and 8×9 in entry 2"),
    ],
)
def test_inconsistent_sizes_are_refused(written, truth, sizes, message):
    entries = [detection(i, segmentation=runs(h, w)) for i, h, w in sizes]
    with pytest.raises(ValueError, match=message):
        read_detections(written(entries), truth)
    with pytest.raises(ValueError, match="8×8 in entry 0, whose .* at 10×12, and 10×20 in entry 1"):
        read_detections(written([detection(5), detection(4, segmentation=SQUARE)]), truth)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda e: e.pop("score"), "entry 1 must be a JSON object with `score`"),
        (
            lambda e: e.pop("segmentation"),
            "entry 1 has no `segmentation`. .* boxes alone are",
        ),
        (lambda e: e.update(image_id=6), r"entry 1: image id 6 is not among the 2 .* \(4…5\)"),
        (lambda e: e.update(image_id="5"), "entry 1: image id '5' is not among"),
        (lambda e: e.update(image_id=[5]), r"entry 1: image id \[5\] is not among"),
        (
            lambda e: e.update(category_id=0),
            r"entry 1: category id 0 is not among .* \(1…2\)",
        ),
        (lambda e: e.update(score=float("nan")), r"is not a JSON list \(.*invalid char"),
        (lambda e: e.update(score=float("-inf")), r"is not a JSON list \("),
        (lambda e: e.update(score="0.5"), "entry 1: `score` must be a number.*: '0.5'"),
        (lambda e: e.update(score=None), "`score` must be a number.*: None"),
        (lambda e: e.update(score=True), "`score` must be a number.*: True"),
        (lambda e: e.update(segmentation={"size": [8, 8]}), "entry 1: .* with `size` and `counts`"),
        (lambda e: e["segmentation"].update(counts=[63]), "entry 1: the runs must fill 8×8 = 64"),
        (lambda e: e.update(segmentation=[[1, 2]]), "entry 1: every mask needs a polygon"),
    ],
)
def test_damaged_detections_are_refused(written, truth, edit, message):
    wrong = detection()
    edit(wrong)
    with pytest.raises(ValueError, match=message) as caught:
        read_detections(written([detection(), wrong]), truth)
    assert "1.json" in str(caught.value)


def test_files_without_detections(written, truth):
    with pytest.raises(ValueError, match=r"no detection in the 2 images .*\(of 0 entries\)"):
        read_detections(written([]), truth)
    with pytest.raises(ValueError, match="is not a JSON list"):
        read_detections(written({"annotations": []}), truth)
    with pytest.raises(ValueError, match="entry 0 must be a JSON object with `image_id`"):
        read_detections(written([1]), truth)
    whole = json.dumps([detection()])
    for text in ("", "[", whole[:-1], whole[:-1] + ",", whole + "]", "[1e999]"):
        with pytest.raises(ValueError, match=r"\.json is not a JSON list"):
            read_detections(written(text), truth)


def test_numbers_are_those_of_the_file(written, truth):
    score = 0.1234567890123456789
    found, _ = read_detections(written(f" \n{json.dumps([detection(score=score)])}\n"), truth)
    assert scores_of(found) == {(2, 5): [score]}


def test_without_ijson(written, truth, monkeypatch):
    monkeypatch.setitem(sys.modules, "ijson", None)
    with pytest.raises(ValueError, match=r'needs ijson: run `pip install "oasis-tf\[lvis\]"`'):
        read_detections(written([detection()]), truth)

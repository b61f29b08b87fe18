"""LVIS average precision against worked examples, COCO's own code and a slow reference."""

import itertools
import json
import sys
from fractions import Fraction

import numpy as np
import pytest

from oasis_tf.metrics.lvis import scoring
from oasis_tf.metrics.lvis.scoring import (
    LvisResult,
    average_precision,
    lvis_average_precision,
    match,
)

coco_mask = pytest.importorskip("pycocotools.mask")

H, W = 20, 30


def rle(top, left, height, width, size=(H, W)):
    """A rectangle as a detector writes it."""
    pixels = np.zeros(size, np.uint8, order="F")
    pixels[top : top + height, left : left + width] = 1
    return {"size": list(size), "counts": coco_mask.encode(pixels)["counts"].decode()}


def polygon(top, left, height, width):
    right, bottom = left + width, top + height
    return [[left, top, right, top, right, bottom, left, bottom]]


def image(image_id, negative=(), partial=(), size=(H, W)):
    return {
        "id": image_id,
        "height": size[0],
        "width": size[1],
        "neg_category_ids": list(negative),
        "not_exhaustive_category_ids": list(partial),
    }


def truth(image_id, category, segmentation):
    return {"image_id": image_id, "category_id": category, "segmentation": segmentation}


def found(image_id, category, segmentation, score):
    return truth(image_id, category, segmentation) | {"score": score}


@pytest.fixture
def evaluated(tmp_path):
    """function(images, annotations, detections, subset=None) -> LvisResult; classes 1 to 3."""

    def evaluate(images, annotations, detections, subset=None):
        categories = [{"id": k + 1, "name": name} for k, name in enumerate("abc")]
        values = {"categories": categories, "images": images, "annotations": annotations}
        (tmp_path / "truth.json").write_text(json.dumps(values))
        (tmp_path / "found.json").write_text(json.dumps(detections))
        paths = str(tmp_path / "truth.json"), str(tmp_path / "found.json")
        return lvis_average_precision(*paths, subset)

    return evaluate


# === Worked examples ===

FIRST, SECOND, AWAY = (0, 0, 4, 5), (10, 10, 4, 5), (15, 20, 4, 5)


def test_two_of_four_found(evaluated):
    """Right, wrong, right: precision 1 up to recall 1/4 and 2/3 from there to 1/2."""
    annotations = [truth(i, 1, polygon(*box)) for i in (1, 2) for box in (FIRST, SECOND)]
    detections = [
        found(1, 1, rle(*FIRST), 0.9),
        found(1, 1, rle(*AWAY), 0.8),
        found(2, 1, polygon(*SECOND), 0.7),
    ]
    result = evaluated([image(1), image(2), image(3)], annotations, detections)
    ap = (26 * 1 + 25 * 2 / 3) / 101
    assert result == LvisResult(pytest.approx(ap, abs=1e-15), 1, 1, {"a": result.map}, 3, 2)
    assert result.scores() == {"lvis/map": result.map, "lvis/classes_ap_above_0": 1.0}


@pytest.mark.parametrize(
    ("rows", "thresholds"), [(4, 0), (5, 1), (6, 3), (7, 5), (8, 7), (9, 9), (10, 10)]
)
def test_a_mask_counts_up_to_its_iou(evaluated, rows, thresholds):
    """IoU is rows/10; a threshold that it equals is reached."""
    detections = [found(1, 1, rle(0, 0, rows, 4), 0.5)]
    result = evaluated([image(1)], [truth(1, 1, polygon(0, 0, 10, 4))], detections)
    assert result.map == pytest.approx(thresholds / 10, abs=1e-15)
    assert result.classes_ap_above_0 == (thresholds > 0)


def test_an_instance_is_found_once(evaluated):
    """The detection of higher score takes it, even where another fits better."""
    annotations = [truth(1, 1, polygon(0, 0, 10, 4))]
    detections = [found(1, 1, rle(0, 0, 10, 4), 0.5), found(1, 1, rle(0, 0, 8, 4), 0.6)]
    result = evaluated([image(1)], annotations, detections)
    # The rougher one is right up to IoU 0.8; above, it is wrong before the perfect one.
    assert result.map == pytest.approx((7 * 1 + 3 * 1 / 2) / 10, abs=1e-15)


def test_matching_takes_the_best_free_instance():
    iou = np.array([[0.6, 0.9], [0.7, 0.8], [0.55, 0.0]])
    matched = match(iou)
    assert matched.shape == (10, 3)
    np.testing.assert_array_equal(matched.sum(1), [2, 2, 2, 2, 2, 1, 1, 1, 1, 0])
    np.testing.assert_array_equal(matched[0], [True, True, False])  # none is free
    np.testing.assert_array_equal(matched[7], [True, False, False])
    equal = np.array([[0.6, 0.6], [0.7, 0.0]])  # the last one is taken, which leaves the first
    np.testing.assert_array_equal(match(equal)[0], [True, True])
    np.testing.assert_array_equal(match(equal[:, ::-1])[0], [True, False])
    assert match(np.zeros((3, 0))).shape == (10, 3) and not match(np.zeros((3, 0))).any()


def test_average_precision_of_one_curve():
    """Ten instances, right at ranks 1, 2 and 4: the envelope counts, not the point itself."""
    matched = np.tile([True, True, False, True], (10, 1))
    scores, all_count = np.array([0.9, 0.8, 0.7, 0.6]), np.ones(4, bool)
    ap = average_precision(scores, matched, all_count, 10)
    reached = [np.sum(k / 10 >= scoring.RECALLS) for k in (1, 2, 3)]
    want = (reached[1] * 1 + (reached[2] - reached[1]) * 3 / 4) / 101
    assert ap == pytest.approx(want, abs=1e-15)
    assert average_precision(scores[::-1], matched[:, ::-1], all_count, 10) == ap


# === What the annotations cannot tell ===

WRONG_FIRST = [found(1, 1, rle(*AWAY), 0.9), found(1, 1, rle(*FIRST), 0.8)]


def test_classes_that_were_not_looked_for_are_dropped(evaluated):
    annotations = [truth(1, 1, polygon(*FIRST))]
    detections = [found(1, 1, rle(*FIRST), 0.5), found(2, 1, rle(*AWAY), 0.9)]
    assert evaluated([image(1), image(2)], annotations, detections).map == 1
    looked_for = [image(1), image(2, negative=[1])]
    assert evaluated(looked_for, annotations, detections).map == pytest.approx(1 / 2)
    assert evaluated([image(1), image(2, negative=[2])], annotations, detections).map == 1
    assert evaluated([image(1), image(2, partial=[1])], annotations, detections).map == 1


def test_unmatched_detections_are_wrong_only_where_all_is_annotated(evaluated):
    annotations = [truth(1, 1, polygon(*FIRST))]
    assert evaluated([image(1)], annotations, WRONG_FIRST).map == pytest.approx(1 / 2)
    assert evaluated([image(1, partial=[1])], annotations, WRONG_FIRST).map == 1
    assert evaluated([image(1, partial=[2])], annotations, WRONG_FIRST).map == pytest.approx(1 / 2)
    elsewhere = [image(1), image(2, partial=[1])]
    assert evaluated(elsewhere, annotations, WRONG_FIRST).map == pytest.approx(1 / 2)


def test_ignoring_depends_on_the_threshold(evaluated):
    """Matched at 0.5 to 0.8 and right there; above, it does not count, nor does it hurt."""
    annotations = [truth(1, 1, polygon(0, 0, 10, 4))]
    detections = [found(1, 1, rle(0, 0, 8, 4), 0.6)]
    result = evaluated([image(1, partial=[1])], annotations, detections)
    assert result.map == pytest.approx(7 / 10, abs=1e-15)


def test_mean_over_classes_with_truth(evaluated):
    """a is found, b never, c has no instance."""
    annotations = [truth(1, 1, polygon(*FIRST)), truth(1, 2, polygon(*FIRST))]
    detections = [found(1, 1, rle(*FIRST), 0.5), found(1, 3, rle(*FIRST), 0.9)]
    result = evaluated([image(1, negative=[3])], annotations, detections)
    assert result.class_ap == {"a": 1.0, "b": 0.0}
    assert (result.map, result.classes_ap_above_0, result.classes_with_truth) == (0.5, 1, 2)


@pytest.mark.parametrize(("others", "ap"), [(299, 1.0), (300, 0.0)])
def test_300_detections_an_image_of_all_classes(evaluated, others, ap):
    """Those of classes that are not judged take places, too; those of other images do not."""
    annotations = [truth(1, 1, polygon(*FIRST))]
    detections = [found(1, 1, rle(*FIRST), 0.5)]
    detections += [found(1, 2, rle(*AWAY), 0.9)] * others + [found(2, 2, rle(*AWAY), 0.9)] * 50
    assert evaluated([image(1), image(2)], annotations, detections).map == ap


# === Sizes ===


@pytest.mark.parametrize("as_polygon", [True, False])
def test_truth_is_scaled_to_the_generated_images(evaluated, as_polygon):
    """Annotations 20×30 and 40×60, detections 10×10; each axis has its own factor."""
    boxes = {1: (4, 6, 8, 12), 2: (8, 12, 16, 24)}
    sizes = {1: (20, 30), 2: (40, 60)}
    annotations = [
        truth(i, 1, polygon(*boxes[i]) if as_polygon else rle(*boxes[i], sizes[i])) for i in (1, 2)
    ]
    images = [image(i, size=sizes[i]) for i in (1, 2)]
    detections = [found(i, 1, rle(2, 2, 4, 4, (10, 10)), 0.5) for i in (1, 2)]
    assert evaluated(images, annotations, detections).map == 1
    rough = [found(i, 1, rle(2, 2, 3, 4, (10, 10)), 0.5) for i in (1, 2)]
    assert evaluated(images, annotations, rough).map == pytest.approx(6 / 10)  # IoU 0.75


def test_an_instance_without_pixels_still_counts(evaluated):
    annotations = [truth(1, 1, rle(1, 1, 1, 1)), truth(1, 1, rle(0, 0, 20, 15))]
    detections = [
        found(1, 1, rle(0, 0, 2, 1, (2, 2)), 0.9),
        found(1, 1, rle(0, 0, 0, 0, (2, 2)), 0.8),
    ]
    result = evaluated([image(1)], annotations, detections)
    assert result.map == pytest.approx(51 / 101)


# === Independent computations ===


def random_case(seed, exhaustive):
    """Rectangles and detections that resemble them; scores in tenths, so that many are equal."""
    rng = np.random.default_rng(seed)
    classes = np.array([1, 2, 3])
    images, annotations, detections = [], [], []
    for image_id in rng.permutation(np.arange(1, 7)).tolist():
        present = set()
        for _ in range(rng.integers(0, 6)):
            category = int(rng.choice(classes))
            present.add(category)
            box = [int(n) for n in rng.integers(0, 10, 2)] + [int(n) for n in rng.integers(3, 9, 2)]
            annotations.append(truth(image_id, category, polygon(*box)))
            for _ in range(rng.integers(0, 4)):
                moved = np.maximum(box + rng.integers(-1, 2, 4), 0).tolist()
                kind = int(rng.choice([category, rng.integers(1, 4)]))
                detections.append(found(image_id, kind, rle(*moved), int(rng.integers(1, 10)) / 10))
        absent = [k for k in (1, 2, 3) if k not in present]
        negative = [k for k in absent if exhaustive or rng.random() < 0.5]
        partial = [] if exhaustive else [k for k in sorted(present) if rng.random() < 0.5]
        images.append(image(image_id, negative, partial))
    order = rng.permutation(len(detections))
    return images, annotations, [detections[k] for k in order]


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_cocoeval_where_all_is_annotated(evaluated, seed, capsys):
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    coco = pytest.importorskip("pycocotools.coco")
    images, annotations, detections = random_case(seed, exhaustive=True)
    result = evaluated(images, annotations, detections)
    gt = coco.COCO()
    extra = [{"id": k + 1, "iscrowd": 0, "area": 9.0} for k in range(len(annotations))]
    gt.dataset = {
        "images": images,
        "annotations": [a | e for a, e in zip(annotations, extra, strict=True)],
        "categories": [{"id": k, "name": name} for k, name in zip((1, 2, 3), "abc", strict=True)],
    }
    gt.createIndex()
    judge = cocoeval.COCOeval(gt, gt.loadRes([dict(d) for d in detections]), "segm")
    judge.params.maxDets = [1, 10, 300]
    judge.evaluate()
    judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 2]
    assert result.map == pytest.approx(precision[precision > -1].mean(), abs=1e-12)
    for k, name in enumerate("abc"):
        if name in result.class_ap:
            assert result.class_ap[name] == pytest.approx(precision[:, :, k].mean(), abs=1e-12)
        else:
            assert (precision[:, :, k] == -1).all()


def slow_class_ap(images, annotations, detections, category):
    """The rules of LVIS one by one, with sets of pixels and exact fractions."""
    by_id = {i["id"]: i for i in images}
    pixels = {}
    for k, a in enumerate(annotations):
        (
            left,
            top,
            *_,
        ) = a["segmentation"][0][:2]
        right, bottom = a["segmentation"][0][4:6]
        pixels[k] = set(itertools.product(range(top, min(bottom, H)), range(left, min(right, W))))
    mine = [k for k, a in enumerate(annotations) if a["category_id"] == category]
    total = []
    for threshold in (Fraction(n, 20) for n in range(10, 20)):
        ranked, free = [], set(mine)
        for d in sorted(detections, key=lambda d: (-d["score"], d["image_id"])):
            where = by_id[d["image_id"]]
            here = [k for k in mine if annotations[k]["image_id"] == d["image_id"]]
            if d["category_id"] != category or not (here or category in where["neg_category_ids"]):
                continue
            area = set(zip(*np.nonzero(coco_mask.decode(d["segmentation"])), strict=True))
            fits = [
                (Fraction(len(area & pixels[k]), len(area | pixels[k])), k)
                for k in here
                if k in free
            ]
            iou, best = max(fits, default=(0, None))
            if iou >= threshold:
                free.remove(best)
                ranked.append(1)
            elif category not in where["not_exhaustive_category_ids"]:
                ranked.append(0)
        points = [
            (sum(ranked[:n]) / len(mine), sum(ranked[:n]) / n) for n in range(1, len(ranked) + 1)
        ]
        total += [max((p for r, p in points if r >= x), default=0) for x in np.linspace(0, 1, 101)]
    return np.mean(total)


@pytest.mark.parametrize("seed", range(20, 26))
def test_agrees_with_the_slow_reference(evaluated, seed):
    case = random_case(seed, exhaustive=False)
    result = evaluated(*case)
    names = {1: "a", 2: "b", 3: "c"}
    with_truth = sorted({a["category_id"] for a in case[1]})
    want = {names[k]: slow_class_ap(*case, k) for k in with_truth}
    assert result.class_ap == pytest.approx(want, abs=1e-12)
    assert result.map == pytest.approx(np.mean(list(want.values())), abs=1e-12)


# === Properties ===


def test_perfect_detections_score_one(evaluated):
    images, annotations, _ = random_case(3, exhaustive=True)
    rng = np.random.default_rng(0)
    detections = [a | {"score": float(rng.random())} for a in annotations]
    result = evaluated(images, annotations, detections)
    assert result.map == 1 and result.classes_ap_above_0 == result.classes_with_truth == 3


@pytest.mark.parametrize("seed", range(4))
def test_order_and_scale_of_scores_do_not_matter(evaluated, seed):
    images, annotations, detections = random_case(seed, exhaustive=False)
    rng = np.random.default_rng(seed)
    scores = rng.permutation(len(detections)) / 1000  # no two are equal
    detections = [d | {"score": float(s)} for d, s in zip(detections, scores, strict=True)]
    base = evaluated(images, annotations, detections)
    assert 0 < base.map < 1
    shuffled = [detections[k] for k in rng.permutation(len(detections))]
    assert evaluated(images[::-1], annotations, shuffled) == base
    rescaled = [d | {"score": 7 * d["score"] ** 3 - 5} for d in detections]
    assert evaluated(images, annotations, rescaled) == base


def test_subset_of_images_equals_smaller_files(evaluated):
    case = random_case(1, exhaustive=False)
    subset = {1, 3, 4}
    fewer = [[e for e in part if e.get("image_id", e.get("id")) in subset] for part in case]
    result = evaluated(*case, subset)
    assert result == evaluated(*fewer) and result.num_images == 3
    assert result != evaluated(*case)


def test_missing_pycocotools_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ValueError, match=r'pip install "oasis-tf\[lvis\]"'):
        lvis_average_precision("nowhere.json", "nowhere.json")

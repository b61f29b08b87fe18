"""Masks against arrays of pixels; damaged ones are refused before C code sees them."""

import hypothesis
import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest

from oasis_tf.metrics.lvis import masks
from oasis_tf.metrics.lvis.masks import Mask, mask_iou, run_length_size

coco_mask = pytest.importorskip("pycocotools.mask")
pixel_arrays = npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=2, max_side=40),
                           elements=st.integers(0, 1))  # fmt: skip
SQUARE = [2.0, 1.0, 6.0, 1.0, 6.0, 5.0, 2.0, 5.0]  # x 2…5, y 1…4


def compressed(pixels):
    code = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
    return {"size": list(pixels.shape), "counts": code["counts"].decode()}


def run_lengths(pixels):
    """Columns one after the other; the first run is of zeros."""
    flat = np.concatenate([[0], pixels.ravel(order="F")])
    ends = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], ends, [pixels.size]])).tolist()


def decoded(mask, size):
    return coco_mask.decode(mask.encoded(size))


@hypothesis.given(pixel_arrays)
def test_run_lengths(pixels):
    runs = run_lengths(pixels)
    code = compressed(pixels)["counts"].encode()
    np.testing.assert_array_equal(masks._run_lengths(code), runs)
    for counts in (code.decode(), runs):
        segmentation = {"size": list(pixels.shape), "counts": counts}
        mask = Mask.read(segmentation, (999, 999))
        assert mask.size == pixels.shape == run_length_size(segmentation)
        np.testing.assert_array_equal(decoded(mask, mask.size), pixels)


def test_long_runs():
    pixels = np.zeros((3000, 2000), np.uint8)
    pixels[5:2990, 7] = pixels[2:3, 1500] = pixels[:, 1700:1900] = 1
    code = compressed(pixels)["counts"].encode()
    np.testing.assert_array_equal(masks._run_lengths(code), run_lengths(pixels))


@hypothesis.given(pixel_arrays, st.integers(1, 30), st.integers(1, 30))
def test_resizing_takes_the_pixel_below_each_centre(pixels, height, width):
    (h, w) = pixels.shape
    want = [
        [
            pixels[(2 * i + 1) * h // (2 * height), (2 * j + 1) * w // (2 * width)]
            for j in range(width)
        ]
        for i in range(height)
    ]
    mask = Mask.read(compressed(pixels), pixels.shape)
    np.testing.assert_array_equal(decoded(mask, (height, width)), want)


def test_polygons_are_scaled_before_they_become_pixels():
    mask = Mask.read([SQUARE, [8.0, 8.0, 10.0, 8.0, 10.0, 10.0, 8.0, 10.0]], (10, 12))
    want = np.zeros((10, 12))
    want[1:5, 2:6] = want[8:10, 8:10] = 1
    np.testing.assert_array_equal(decoded(mask, (10, 12)), want)
    np.testing.assert_array_equal(decoded(mask, (30, 24)), want.repeat(3, 0).repeat(2, 1))
    triangle = Mask.read([[0, 0, 40, 0, 0, 40]], (40, 40))
    small = decoded(triangle, (10, 20))
    assert small.sum() == pytest.approx(100, abs=6)


@hypothesis.given(st.data())
def test_iou(data):
    size = (6, 7)
    arrays = npst.arrays(np.uint8, st.tuples(st.integers(1, 3), *map(st.just, size)),
                         elements=st.integers(0, 1))  # fmt: skip
    found, true = data.draw(arrays), data.draw(arrays)
    iou = mask_iou(*([Mask.read(compressed(p), size) for p in part] for part in (found, true)))
    both = (found[:, None] & true).sum((2, 3))
    either = (found[:, None] | true).sum((2, 3))
    np.testing.assert_allclose(iou, both / np.maximum(either, 1), rtol=1e-15)


def test_iou_at_the_size_of_the_detections():
    truth = [Mask.read([[2, 1, 6, 1, 6, 5, 2, 5]], (10, 12)), Mask.read([SQUARE], (10, 12))]
    pixels = np.zeros((20, 6))
    pixels[2:10, 1:3] = 1
    found = [Mask.read(compressed(pixels), (10, 12))]
    np.testing.assert_array_equal(mask_iou(found, truth), [[1, 1]])
    assert mask_iou(found, []).shape == (1, 0)


GOOD = compressed(np.eye(9))["counts"]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ("rle", "must be polygons or a dict with `size` and `counts`"),
        ({"counts": GOOD}, "must be polygons or a dict with `size` and `counts`"),
        ({"size": [9], "counts": GOOD}, r"`size` must be \[height, width\]. Received: \[9\]"),
        ({"size": [9, 0], "counts": GOOD}, r"must be \[height, width\]. Received: \[9, 0\]"),
        ({"size": [9.0, 9], "counts": GOOD}, r"must be \[height, width\]. Received: \[9.0, 9\]"),
        ({"size": [9, 10], "counts": GOOD}, "fill 10×9 = 90 pixels; they cover 81"),
        ({"size": [9, 9], "counts": GOOD[:-2]}, r"fill 9×9 = 81 pixels; they cover \d+"),
        ({"size": [9, 9], "counts": ""}, "no compressed run-length encoding"),
        ({"size": [9, 9], "counts": "a b"}, "no compressed run-length encoding"),
        ({"size": [9, 9], "counts": "P"}, "no compressed run-length encoding, or one that was cut"),
        ({"size": [9, 9], "counts": "P" * 9 + "0"}, "a run longer than any image"),
        ({"size": [9, 9], "counts": "é"}, "compressed encoding or a list of run lengths"),
        ({"size": [9, 9], "counts": 3}, "compressed encoding or a list of run lengths"),
        ({"size": [9, 9], "counts": []}, "they cover 0"),
        ({"size": [9, 9], "counts": [80, 2]}, "they cover 82"),
        ({"size": [9, 9], "counts": [90, -9]}, "one is negative"),
        ({"size": [9, 9], "counts": [10**30, 1]}, "they cover 1000000"),
        ({"size": [9, 9], "counts": [80.0, 1]}, "`counts` must hold integers"),
        ([], "every mask needs a polygon"),
        ([[1, 2, 3, 4]], "every polygon x, y of three points"),  # pycocotools takes it for a box
        ([[1, 2, 3, 4, 5, 6, 7]], "every polygon x, y of three points"),
        ([[[1, 2], [3, 4], [5, 6]]], "every polygon x, y of three points"),
        ([1, 2, 3, 4, 5, 6], "every polygon x, y of three points"),
        ([["a", 2, 3, 4, 5, 6]], "polygons must be lists of numbers"),
        ([{}], "polygons must be lists of numbers"),
        ([[float("nan"), 2, 3, 4, 5, 6]], "near their image of 9×9 pixels"),
        ([[1e9, 2, 3, 4, 5, 6]], "coordinates beyond ±18"),
    ],
)
def test_damaged_masks_are_refused(segmentation, message):
    with pytest.raises(ValueError, match=message):
        Mask.read(segmentation, (9, 9))

"""J and F of DAVIS against loops over all pairs of contour pixels."""

import math

import numpy as np
import pytest

from oasis_tf.metrics.segmentation import davis


def blob(rng, shape=(20, 30)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    row, column, radius = rng.uniform(4, 16), rng.uniform(4, 26), rng.uniform(3, 7)
    return (y - row) ** 2 + (x - column) ** 2 < radius**2


def contour_by_loops(mask):
    height, width = mask.shape
    found = []
    for i in range(height):
        for j in range(width):
            below, right = min(i + 1, height - 1), min(j + 1, width - 1)
            others = mask[i, right], mask[below, j], mask[below, right]
            if any(other != mask[i, j] for other in others):
                found.append((i, j))
    return found


def accuracy_by_loops(truth, prediction, radius):
    true, found = contour_by_loops(truth), contour_by_loops(prediction)

    def share(some, others):
        near = [any(math.dist(p, q) <= radius for q in others) for p in some]
        return sum(near) / len(near)

    precision, recall = share(found, true), share(true, found)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_contours_and_their_accuracy(seed):
    rng = np.random.default_rng(seed)
    truth, prediction = blob(rng), blob(rng)
    assert sorted(zip(*np.nonzero(davis.contour(truth)), strict=True)) == contour_by_loops(truth)
    # The diagonal is 36.06 pixels: 0.008 of it round up to 1, 0.05 to 2.
    for tolerance, radius in ((0.008, 1), (0.05, 2)):
        found = davis.contour_accuracy(truth, prediction, tolerance)
        assert found == pytest.approx(accuracy_by_loops(truth, prediction, radius))


def test_empty_masks():
    nothing, something = np.zeros((8, 8), bool), np.eye(8, dtype=bool)
    assert davis.region_similarity(nothing, nothing) == 1
    assert davis.region_similarity(nothing, something) == 0
    assert davis.contour_accuracy(nothing, nothing) == 1
    assert davis.contour_accuracy(nothing, something) == 0
    assert davis.contour_accuracy(something, nothing) == 0


def test_scores_are_means_over_frames_for_each_object():
    rng = np.random.default_rng(9)
    truths, found = ([blob(rng) + 2 * (blob(rng) & (rng.random((20, 30)) < 2)) for _ in range(3)]
                     for _ in range(2))  # fmt: skip
    truths, found = ([np.minimum(ids, 2) for ids in video] for video in (truths, found))
    values = davis.scores(truths, found, 3)
    assert values.shape == (2, 2)
    for k in (1, 2):
        pairs = [(a == k, b == k) for a, b in zip(truths, found, strict=True)]
        j = np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs])
        assert values[k - 1, 0] == pytest.approx(j)
        f = np.mean([accuracy_by_loops(a, b, 1) for a, b in pairs])
        assert values[k - 1, 1] == pytest.approx(f)

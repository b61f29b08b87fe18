"""Improved precision and recall of generated images (Kynkäänniemi et al., NeurIPS 2019).

A set of features spans a manifold: the union of balls, one around each vector, that reach to its
k-th nearest neighbour in the same set. Precision is the share of generated images on the real
manifold (are they realistic?), recall the share of real images on the generated one (is everything
there?).
"""

from typing import NamedTuple

import numpy as np

from oasis_tf.metrics.features.feature_sets import checked_pair


class PrecisionRecall(NamedTuple):
    """Both in [0, 1]."""

    precision: float
    recall: float


def precision_recall(real, generated, *, neighbours=3, block_size=512):
    """Precision and recall by k-nearest-neighbour balls.

    A vector is not its own neighbour, equal vectors are neighbours at distance 0, and balls contain
    their surface, so identical sets score 1 and 1. Distances are Euclidean; two that differ by no
    more than rounding count as equal. Memory: O(block_size · images) besides two copies of the
    features in float64.

    Args:
        real: [N, D], any real type, N > neighbours.
        generated: [M, D], any real type, M > neighbours. Scores of different N or M are not
            comparable; the paper takes as many generated as real images.
        neighbours: k; the paper takes 3.
        block_size: vectors that are compared with all others at a time; does not change the result.

    Returns:
        `PrecisionRecall` (precision, recall).

    Raises:
        ValueError: too few images, shapes that do not fit, NaN or infinity, or settings out of
            range.
    """
    if neighbours < 1 or block_size < 1:
        raise ValueError(
            "`neighbours` and `block_size` must be positive. "
            f"Received: neighbours={neighbours}, block_size={block_size}"
        )
    # The k-th neighbour of a vector needs k others.
    real, generated = checked_pair(real, generated, least=neighbours + 1)
    centre = real.mean(0)  # distances from dot products lose digits far from zero
    real, generated = real - centre, generated - centre
    real_radii = _squared_radii(real, neighbours, block_size)
    generated_radii = _squared_radii(generated, neighbours, block_size)
    realistic = np.zeros(len(generated), bool)
    covered = np.zeros(len(real), bool)
    for start in range(0, len(generated), block_size):
        rows = slice(start, start + block_size)
        squared, norms = _squared_distances(generated[rows], real)
        # What rounding can make of equal distances, in the radii as well as here.
        squared -= norms * (16 * real.shape[1] * np.finfo(np.float64).eps)
        realistic[rows] = (squared <= real_radii).any(1)
        covered |= (squared <= generated_radii[rows, None]).any(0)
    return PrecisionRecall(float(realistic.mean()), float(covered.mean()))


def _squared_radii(features, neighbours, block_size):
    """Squared distance of each vector to its k-th nearest other: [N]."""
    radii = np.empty(len(features))
    for start in range(0, len(features), block_size):
        block = features[start : start + block_size]
        squared, _ = _squared_distances(block, features)
        rows = np.arange(len(block))
        squared[rows, start + rows] = np.inf
        radii[start + rows] = np.partition(squared, neighbours - 1, axis=1)[:, neighbours - 1]
    return radii


def _squared_distances(x, y):
    """Squared distances, and the sums of squared norms that they are made of: [len(x), len(y)]."""
    norms = np.sum(x * x, 1)[:, None] + np.sum(y * y, 1)
    return norms - 2 * (x @ y.T), norms

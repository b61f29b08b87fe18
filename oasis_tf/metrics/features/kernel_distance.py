"""Kernel distance of two sets of features (KID; Bińkowski et al., ICLR 2018, section 4)."""

from typing import NamedTuple

import numpy as np

from oasis_tf.metrics.features.feature_sets import checked_pair


class KernelDistance(NamedTuple):
    """Mean and standard deviation over the subsets, of the squared maximum mean discrepancy."""

    mean: float
    std: float


def kernel_distance(real, generated, *, num_subsets=100, subset_size=1000, seed=0):
    """Squared maximum mean discrepancy, averaged over random subsets.

    The kernel is (x·y / D + 1)³. Each subset takes equally many real and generated images without
    replacement. Its estimate is unbiased (no image is compared with itself): the number of images
    does not shift the result, which can be slightly negative. If a set holds fewer images
    than `subset_size`, subsets are as large as that set; if they hold both sets whole, there is
    but one, and `std` is 0. `std` (the root of the mean squared deviation) says how subsets
    differ, not how uncertain the mean is.

    Papers print it as it is or times 1000. Memory: O(subset size²) besides the features.

    Args:
        real: [N, D], any real type.
        generated: [M, D], any real type.
        num_subsets: how many subsets are drawn.
        subset_size: largest number of images of either kind in a subset.
        seed: 0..2³²-1, of `np.random.RandomState`, whose numbers are the same in every NumPy.

    Returns:
        `KernelDistance` (mean, std).

    Raises:
        ValueError: fewer than 2 images in a set, shapes that do not fit, NaN or infinity, or
            settings out of range.
    """
    if num_subsets < 1 or subset_size < 2:
        raise ValueError(
            "`num_subsets` must be at least 1 and `subset_size` at least 2. "
            f"Received: num_subsets={num_subsets}, subset_size={subset_size}"
        )
    real, generated = checked_pair(real, generated, least=2)
    size = min(subset_size, len(real), len(generated))
    if size == len(real) == len(generated):
        return KernelDistance(_discrepancy(real, generated), 0.0)
    rng = np.random.RandomState(seed)
    estimates = [
        _discrepancy(_draw(rng, real, size), _draw(rng, generated, size))
        for _ in range(num_subsets)
    ]
    return KernelDistance(float(np.mean(estimates)), float(np.std(estimates)))


def _draw(rng, features, size):
    return features[rng.permutation(len(features))[:size]]


def _discrepancy(x, y):
    """Unbiased estimate of the squared discrepancy of two samples of equal size."""
    within = _mean_of_others(_kernel(x, x)) + _mean_of_others(_kernel(y, y))
    return float(within - 2 * _kernel(x, y).mean())


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_of_others(matrix):
    """Mean of the entries off the diagonal."""
    n = len(matrix)
    return (matrix.sum() - np.trace(matrix)) / (n * (n - 1))

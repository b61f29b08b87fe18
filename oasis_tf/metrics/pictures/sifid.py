"""Single-image Fréchet distance (SIFID, Shaham et al. 2019) at several depths, and ranks by it.

The vectors of one feature map are taken for samples of a Gaussian, covariances with n - 1. The
distance of two maps is the Fréchet distance of their Gaussians.
"""

from typing import NamedTuple

import numpy as np
import scipy.stats

FILTER_RATE = 0.15  # share of the samples that is dropped (thesis, section 6.3.4)


class Gaussian(NamedTuple):
    """A Gaussian by its mean [D] and a factor [D, r] of its covariance, float64."""

    mean: np.ndarray
    factor: np.ndarray


def gaussian(features):
    """The `Gaussian` of features float [n, D], n >= 2; its factor has at most n columns."""
    features = np.asarray(features, np.float64)
    mean = features.mean(0)
    factor = np.linalg.qr((features - mean) / np.sqrt(len(features) - 1), mode="r").T
    return Gaussian(mean, factor)


def distance(a, b):
    """Squared Fréchet distance of two `Gaussian`s.

    tr √(C₁ C₂) is the sum of the singular values of F₁ᵀ F₂, with C = F Fᵀ: small maps of many
    channels need no square root of a large matrix.
    """
    overlap = np.linalg.svd(a.factor.T @ b.factor, compute_uv=False).sum()
    spread = np.square(a.factor).sum() + np.square(b.factor).sum()
    return max(float(np.square(a.mean - b.mean).sum() + spread - 2 * overlap), 0.0)


def scores(network, samples, references):
    """SIFID of every sample at every depth.

    Args:
        network: `SpatialFeatures`.
        samples: uint8 [S,H,W,3].
        references: uint8 [K,H,W,3], the training pictures.

    Returns:
        float64 [S, depths]; the mean over the references of a clip. NaN at depths for which the
        images are too small.
    """
    wanted = [_gaussians(network, image) for image in references]
    rows = []
    for image in samples:
        found = _gaussians(network, image)
        rows.append(np.mean([_distances(found, other) for other in wanted], axis=0))
    return np.array(rows).reshape(len(samples), len(network.depths))


def _gaussians(network, image):
    return [None if x is None else gaussian(x) for x in network(image)]


def _distances(a, b):
    return [np.nan if x is None else distance(x, y) for x, y in zip(a, b, strict=True)]


def kept(table, rate=FILTER_RATE):
    """Which samples stay when those of the worst mean rank are dropped.

    Args:
        table: float [S, depths], as `scores` gives; a depth with NaN does not count.
        rate: share of the samples to drop.

    Returns:
        int64 [S - round(rate S)], ascending.
    """
    table = np.asarray(table)[:, ~np.isnan(table).any(0)]
    ranks = scipy.stats.rankdata(table, axis=0).mean(1) if table.size else np.zeros(len(table))
    order = np.argsort(ranks, kind="stable")
    return np.sort(order[: len(table) - round(rate * len(table))])

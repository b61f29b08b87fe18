"""Fréchet distance of two Gaussians, and running moments to get them from batches of features.

With Inception features it is the FID (Heusel et al., NeurIPS 2017). Everything is float64 NumPy; no
feature outlives its batch, so memory does not grow with the number of images.
"""

import numpy as np

from oasis_tf.metrics.features.feature_sets import checked

# Asymmetry and negative variance up to this fraction of the largest value pass for rounding.
_ROUNDING = 1e-6


class RunningMoments:
    """Mean and covariance of feature vectors that arrive in batches.

    Batches are joined by the exact pairwise rule (Chan et al. 1983), so neither their sizes nor
    their order matter beyond rounding. All is counted from an origin, the first vector seen: what
    is added up is then as small as the features' spread, however far from zero they lie.

    Args:
        dimension: D, length of a feature vector.

    Attributes:
        dimension: D.
        count: number of vectors seen.
    """

    def __init__(self, dimension):
        if dimension < 1:
            raise ValueError(f"`dimension` must be positive. Received: dimension={dimension}")
        self.dimension = dimension
        self.count = 0
        self._origin = np.zeros(dimension)
        self._offset = np.zeros(dimension)  # mean, counted from the origin
        self._scatter = np.zeros((dimension, dimension))

    def update(self, features):
        """Adds a batch.

        Args:
            features: [B, D], any real type; B may be 0.

        Raises:
            ValueError: another shape, or NaN or infinity among the values; nothing was added.
        """
        features = checked(features, dimension=self.dimension)
        if not len(features):
            return
        if not self.count:
            self._origin = features[0].copy()
        centred = features - self._origin
        offset = centred.mean(0)
        centred -= offset
        self._join(len(features), offset, centred.T @ centred)

    def _join(self, count, offset, scatter):
        """Adds `count` vectors by their mean, from the same origin, and their scatter."""
        total = self.count + count
        difference = offset - self._offset
        self._scatter += scatter
        between = difference * np.sqrt(self.count * count / total)
        self._scatter += np.outer(between, between)
        self._offset += difference * (count / total)
        self.count = total

    @property
    def mean(self):
        """Mean of all vectors, float64 [D]; ValueError if there are none."""
        self._require(1, "mean")
        return self._origin + self._offset

    def covariance(self):
        """Unbiased covariance (divided by `count` - 1) of all vectors.

        Returns:
            float64 [D, D], symmetric. Of fewer than D + 1 vectors it has no full rank, which
            `frechet_distance` takes.

        Raises:
            ValueError: fewer than 2 vectors.
        """
        self._require(2, "covariance")
        return self._scatter / (self.count - 1)

    def _require(self, least, what):
        if self.count < least:
            raise ValueError(
                f"A {what} needs at least {least} images. Received: {self.count}; evaluate more"
            )

    def state(self):
        """A copy of all that was seen: dict of arrays, for `merged` and for `np.savez`."""
        return {
            "count": np.array(self.count, np.int64),
            "origin": self._origin.copy(),
            "offset": self._offset.copy(),
            "scatter": self._scatter.copy(),
        }

    @classmethod
    def merged(cls, states):
        """The moments of everything that several `RunningMoments` saw.

        Args:
            states: what their `state()` returned; one or more.

        Returns:
            `RunningMoments`, independent of the states.

        Raises:
            ValueError: no states, or states of different dimensions.
        """
        states = list(states)
        dimensions = sorted({len(state["origin"]) for state in states})
        if len(dimensions) != 1:
            raise ValueError(
                "`states` must be one or more, all of one dimension. "
                f"Received: {len(states)} states of dimensions {dimensions}"
            )
        moments = cls(dimensions[0])
        for state in states:
            count = int(state["count"])
            if not count:
                continue
            if not moments.count:
                moments._origin = state["origin"].copy()
            offset = state["origin"] - moments._origin + state["offset"]
            moments._join(count, offset, state["scatter"])
        return moments


def frechet_distance(mean1, cov1, mean2, cov2):
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians.

    |m1 - m2|² + tr C1 + tr C2 - 2 tr √(C1 C2), as it is, no root taken: the FID, for Inception
    features. With C = F Fᵀ from a symmetric eigendecomposition, tr √(C1 C2) is the sum of the
    singular values of F1ᵀ F2: always real, and accurate for covariances without full rank too (500
    images of 2048 dimensions), where a square root of the product loses half the digits. Nothing is
    added to the diagonals. Eigenvalues that cannot be told from zero (the rule of `matrix_rank` in
    NumPy: under D · 2⁻⁵² of the largest) count as zero, as does a result that rounding made
    negative.

    The value depends on the number of images: compare values of equal numbers only.

    Args:
        mean1: float [D].
        cov1: float [D, D], symmetric positive semidefinite, of any rank.
        mean2: float [D].
        cov2: float [D, D], symmetric positive semidefinite, of any rank.

    Returns:
        float ≥ 0.

    Raises:
        ValueError: shapes do not fit, values are not finite, or a matrix is no covariance.
    """
    mean1, cov1 = _checked_gaussian(mean1, cov1, "1")
    mean2, cov2 = _checked_gaussian(mean2, cov2, "2")
    if mean1.shape != mean2.shape:
        raise ValueError(
            "Both Gaussians must have the same dimension, one feature network for all. "
            f"Received: {mean1.size} and {mean2.size}"
        )
    product = _factor(cov1, "cov1").T @ _factor(cov2, "cov2")
    overlap = np.linalg.svd(product, compute_uv=False).sum()
    distance = np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2 * overlap
    return max(float(distance), 0.0)


def _checked_gaussian(mean, cov, which):
    mean, cov = np.asarray(mean, np.float64), np.asarray(cov, np.float64)
    if mean.ndim != 1 or not mean.size or cov.shape != (mean.size, mean.size):
        raise ValueError(
            f"`mean{which}` must be [D] and `cov{which}` [D, D]. "
            f"Received: mean{which}.shape={mean.shape}, cov{which}.shape={cov.shape}"
        )
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise ValueError(
            f"`mean{which}` and `cov{which}` must be finite. Received: NaN or infinity; "
            "compute these statistics again"
        )
    asymmetry = np.abs(cov - cov.T).max()
    if asymmetry > _ROUNDING * np.abs(cov).max():
        raise ValueError(
            f"`cov{which}` must be symmetric. Received: entries that differ by {asymmetry:.3g}; "
            "compute these statistics again"
        )
    return mean, cov


def _factor(cov, name):
    """F [D, rank] with F Fᵀ = `cov`."""
    values, vectors = np.linalg.eigh(cov)
    if values[0] < -_ROUNDING * np.abs(values).max():
        raise ValueError(
            f"`{name}` must have no negative eigenvalue, as a covariance has none. "
            f"Received: {values[0]:.3g}; compute these statistics again"
        )
    kept = values > values[-1] * len(cov) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])

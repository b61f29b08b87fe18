"""Interpolation of vectors, along a line or a great circle."""

import numpy as np

# |sin| of the angle between opposite vectors below which only rounding decides their plane.
_ANTIPODAL = 1e-6


def interpolate_vectors(first, second, share, *, spherical=False):
    """Vectors between those of two lists.

    With ``spherical``, directions move along the great circle at even speed, and lengths linearly.
    Where the great circle is not defined:

    * From or to a zero vector, the line is taken.
    * Vectors of equal direction keep it.
    * Between opposite vectors (to 1e-6 of the sine), the half circle goes through the axis in which
      they are smallest. If Z = 1 there is no such axis, and the line is taken.

    Swapped lists with ``1 - share`` give the same vectors.

    Args:
        first, second: float32 [P, Z].
        share: float in 0..1, of the second list; 0 and 1 give the lists themselves, bit for bit.
        spherical: bool.

    Returns:
        float32 [P, Z].
    """
    if share in (0, 1):
        return second if share else first
    way = _spherical if spherical else _linear
    # In float64, interpolation between equal vectors is rounded to them.
    return way(first.astype(np.float64), second.astype(np.float64), share).astype(np.float32)


def _linear(first, second, share):
    return (1 - share) * first + share * second


def _spherical(first, second, share):
    lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second)]
    directions = [
        np.divide(part, length, out=np.zeros_like(part), where=length > 0)
        for part, length in zip((first, second), lengths, strict=True)
    ]
    cosine = np.sum(directions[0] * directions[1], axis=1, keepdims=True)
    sideways = directions[1] - cosine * directions[0]
    sine = np.linalg.norm(sideways, axis=1, keepdims=True)
    opposite = (sine < _ANTIPODAL) & (cosine < 0)
    sideways = np.where(opposite, _across(directions[0]), sideways)
    length = np.linalg.norm(sideways, axis=1, keepdims=True)
    sideways = np.divide(sideways, length, out=np.zeros_like(sideways), where=length > 0)
    angle = share * np.where(opposite, np.pi, np.arctan2(sine, cosine))
    direction = np.cos(angle) * directions[0] + np.sin(angle) * sideways
    on_line = (lengths[0] * lengths[1] == 0) | (opposite & (length == 0))
    line = _linear(first, second, share)
    return np.where(on_line, line, _linear(*lengths, share) * direction)


def _across(directions):
    """Vectors at right angles to unit vectors [P, Z]; zero if Z = 1."""
    if directions.shape[1] == 1:
        return np.zeros_like(directions)
    rows, least = np.arange(len(directions)), np.argmin(np.abs(directions), axis=1)
    across = -directions[rows, least][:, None] * directions
    across[rows, least] += 1
    return across

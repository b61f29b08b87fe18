"""Slow and obvious counterparts of what the layers compute."""

import numpy as np
import pytest


def _conv_same(x, kernel):
    """Convolution [B, H, W, C] * [k, k, C, F], stride 1, zero padding, tap by tap in float64."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    margin = size // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    taps = [(s, t) for s in range(size) for t in range(size)]
    return sum(padded[:, s : s + height, t : t + width] @ kernel[s, t] for s, t in taps)


@pytest.fixture(scope="session")
def conv_same():
    """function(x, kernel) -> their convolution as float64 arrays."""
    return _conv_same


@pytest.fixture
def rng():
    return np.random.default_rng(0)

"""Slow, obvious reference implementations of what the layers compute."""

import numpy as np
import pytest


def _conv_same(x, kernel):
    """Convolves [B, H, W, C] with [k, k, C, F], stride 1, zero padding, tap by tap in float64."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    margin = size // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    taps = [(s, t) for s in range(size) for t in range(size)]
    return sum(padded[:, s : s + height, t : t + width] @ kernel[s, t] for s, t in taps)


@pytest.fixture(scope="session")
def conv_same():
    """function(x, kernel) -> their convolution, a float64 array."""
    return _conv_same


def _dense_condition(label_map, noise, num_classes):
    import tensorflow as tf

    one_hot = tf.one_hot(label_map, num_classes, dtype=tf.float64)
    if noise is None:
        return one_hot
    if len(noise.shape) == 2:
        noise = tf.broadcast_to(noise[:, None, None], (*label_map.shape, noise.shape[-1]))
    return tf.concat([noise, one_hot], axis=-1)


@pytest.fixture(scope="session")
def dense_condition():
    """function(label_map, noise, num_classes) -> concat(noise, one-hot), float64 [B, H, W, Z + N].

    No fast path ever builds this tensor. ``noise``: [B, Z], [B, H, W, Z] or None.
    """
    return _dense_condition

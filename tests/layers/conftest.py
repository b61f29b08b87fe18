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

    It is what no fast path ever builds. ``noise``: [B, Z], [B, H, W, Z] or None.
    """
    return _dense_condition


@pytest.fixture
def check_same(rng):
    """Checks that two ways give the same values, and to all sources the same gradients.

    Returns:
        function(fast, slow, sources, tolerance=1e-10): ``fast`` and ``slow`` take nothing and give
        (nested) tensors computed from ``sources``, tensors or variables that both depend on.
    """
    import tensorflow as tf

    def check(fast, slow, sources, tolerance=1e-10):
        sources = [getattr(source, "value", source) for source in sources]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(sources)
            got, want = (tf.nest.flatten(way()) for way in (fast, slow))
            # Any upstream gradient does; a random one reaches every value with another weight.
            targets = [rng.normal(size=y.shape) for y in want]
            losses = [
                sum(tf.reduce_sum(y * t) for y, t in zip(ys, targets, strict=True))
                for ys in (got, want)
            ]
        got += (tf.convert_to_tensor(g) for g in tape.gradient(losses[0], sources))
        want += (tf.convert_to_tensor(g) for g in tape.gradient(losses[1], sources))
        for g, w in zip(got, want, strict=True):
            assert g.dtype == w.dtype
            np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)

    return check

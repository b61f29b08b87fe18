"""Instance normalisation against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers import InstanceNorm


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
def test_normalises_every_image_and_channel_separately(rng, epsilon):
    x = rng.normal(rng.normal(0, 5, (3, 1, 1, 4)), rng.uniform(0.01, 4, (3, 1, 1, 4)), (3, 5, 6, 4))
    mean, variance = (part(x, axis=(1, 2), keepdims=True) for part in (np.mean, np.var))
    want = (x - mean) / np.sqrt(variance + epsilon)
    layer = InstanceNorm(epsilon=epsilon, dtype="float64")
    np.testing.assert_allclose(layer(x), want, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer(x[1:2]), want[1:2], rtol=1e-10, atol=1e-12)
    assert not layer.weights


def test_default_epsilon_is_pytorchs():
    x = np.array([0.0, 0.02]).reshape(1, 1, 2, 1)  # variance 1e-4
    want = np.array([-0.01, 0.01]) / np.sqrt(1e-4 + 1e-5)
    np.testing.assert_allclose(InstanceNorm(dtype="float64")(x).numpy().ravel(), want)


@pytest.mark.parametrize("x", [np.full((1, 3, 3, 2), 7.0), np.ones((2, 1, 1, 2))])
def test_constant_channels_become_zero(x):
    with tf.GradientTape() as tape:
        x = tf.constant(x)
        tape.watch(x)
        y = InstanceNorm(dtype="float64")(x)
        loss = tf.reduce_sum(y * np.arange(float(x.shape.num_elements())).reshape(x.shape))
    np.testing.assert_array_equal(y, np.zeros(x.shape))
    assert np.isfinite(tape.gradient(loss, x)).all()


def test_half_precision_takes_moments_in_float32(rng):
    """In half precision, the variance would be lost next to such a large mean."""
    x = tf.cast(rng.normal(100, 1, (1, 32, 32, 2)), tf.bfloat16)
    layer = InstanceNorm(dtype="mixed_bfloat16")
    want = InstanceNorm(dtype="float64")(tf.cast(x, tf.float64))
    np.testing.assert_allclose(tf.cast(layer(x), tf.float64), want, rtol=2**-7, atol=1e-5)


def test_keras_contract(keras_contract, rng):
    keras_contract(lambda **options: InstanceNorm(**options), rng.normal(size=(2, 4, 6, 3)))

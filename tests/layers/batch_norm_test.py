"""Batch normalisation against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers import BatchNorm

AXES = (0, 1, 2)


def make_layer(channels=3, dtype="float64", **options):
    layer = BatchNorm(dtype=dtype, **options)
    layer.build((None, None, None, channels))
    return layer


def test_training_normalises_by_the_batch(rng):
    x = rng.normal(3, 2, (2, 4, 5, 3))
    want = (x - x.mean(AXES)) / np.sqrt(x.var(AXES) + 1e-5)
    np.testing.assert_allclose(make_layer()(x, training=True), want, rtol=1e-12, atol=1e-13)


def test_running_averages_hold_the_unbiased_variance(rng):
    layer, mean, variance = make_layer(), np.zeros(3), np.ones(3)
    for _ in range(3):
        x = rng.normal(1, 3, (2, 2, 2, 3))
        layer(x, training=True)
        mean = 0.9 * mean + 0.1 * x.mean(AXES)
        variance = 0.9 * variance + 0.1 * x.var(AXES, ddof=1)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_affine_of_repeated_values(rng, training):
    """Scale, shift and running averages are those of a layer that was given all copies."""
    apart, together = (make_layer(epsilon=1e-3) for _ in range(2))
    for layer in (apart, together):
        layer.moving_mean.assign(np.arange(3.0))
        layer.moving_variance.assign(np.arange(1.0, 4.0))
    x = rng.normal(1, 3, (1, 1, 2, 3))
    copies = x.repeat(2, 1).repeat(2, 2)
    scale, shift = apart.affine(x, training, repeats=4)
    want = together(copies, training=training)
    np.testing.assert_allclose(copies * scale + shift, want, rtol=1e-12, atol=1e-12)
    for got, want in zip(apart.variables, together.variables, strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-12)


def test_evaluation_uses_the_running_averages_and_keeps_them(rng):
    layer, x = make_layer(epsilon=1e-3), rng.normal(size=(2, 3, 4, 3))
    mean, variance = rng.normal(size=3), rng.uniform(0.5, 2, 3)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    np.testing.assert_allclose(layer(x), (x - mean) / np.sqrt(variance + 1e-3), rtol=1e-12)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), mean)
    np.testing.assert_array_equal(layer.moving_variance.numpy(), variance)


def test_a_single_value_is_normalised_to_zero(rng):
    layer, x = make_layer(), rng.normal(size=(1, 1, 1, 3))
    np.testing.assert_array_equal(layer(x, training=True), np.zeros_like(x))
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * x[0, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance.numpy(), np.full(3, 0.9), rtol=1e-12)


def test_gradient_passes_through_the_moments(rng):
    """With y = (x - m) s: dL/dx = s (R - mean(R) - y mean(R y)) for L = sum(R y)."""
    x, target = rng.normal(2, 3, (2, 3, 4, 3)), rng.normal(size=(2, 3, 4, 3))
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        loss = tf.reduce_sum(make_layer()(tensor, training=True) * target)
    scale = 1 / np.sqrt(x.var(AXES) + 1e-5)
    y = (x - x.mean(AXES)) * scale
    want = scale * (target - target.mean(AXES) - y * (target * y).mean(AXES))
    np.testing.assert_allclose(tape.gradient(loss, tensor), want, rtol=1e-9, atol=1e-12)


def test_a_large_mean_does_not_cancel_the_variance(rng):
    x = (1e4 + rng.normal(size=(4, 16, 16, 3))).astype(np.float32)
    y = make_layer(dtype="float32")(x, training=True).numpy()
    np.testing.assert_allclose(y.std(AXES), np.ones(3), rtol=1e-2)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_moments_in_float32(rng, policy):
    layer = make_layer(dtype=policy)
    x = tf.cast(rng.normal(size=(2, 8, 8, 3)), layer.compute_dtype)
    layer(x, training=True)
    exact = tf.cast(x, tf.float64).numpy()
    want = 0.9 + 0.1 * exact.var(AXES, ddof=1)
    np.testing.assert_allclose(layer.moving_variance.numpy(), want, rtol=1e-6)


def test_keras_contract(keras_contract):
    image = np.random.default_rng(1).normal(size=(2, 4, 6, 3)).astype(np.float32)
    keras_contract(lambda **options: BatchNorm(momentum=0.8, epsilon=1e-4, **options), image)

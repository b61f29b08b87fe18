"""Spectral normalisation against singular value decomposition and closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis_tf.layers import SpectralConv2D
from oasis_tf.layers.spectral_norm import power_iteration


def make_layer(rng, channels=3, filters=5, size=3, dtype="float64", **options):
    """A layer with random weights; Keras' own generator draws u and v."""
    keras.utils.set_random_seed(0)
    layer = SpectralConv2D(filters, size, dtype=dtype, **options)
    layer.build((None, None, None, channels))
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


def matrix_of(layer):
    """The kernel as a matrix [k * k * in, out]."""
    kernel = layer.kernel.numpy()
    return kernel.reshape(-1, kernel.shape[-1])


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(("channels", "filters", "size"), [(3, 5, 3), (1, 4, 3), (7, 2, 1)])
def test_sigma_becomes_the_largest_singular_value(rng, channels, filters, size):
    layer = make_layer(rng, channels, filters, size)
    for _ in range(300):
        layer.power_iteration()
    left, values, right = np.linalg.svd(matrix_of(layer), full_matrices=False)
    normalised = layer.normalised_kernel().numpy().reshape(-1, filters)
    np.testing.assert_allclose(normalised, matrix_of(layer) / values[0], rtol=1e-8)
    assert abs(abs(left[:, 0] @ layer.v.numpy()) - 1) < 1e-8
    assert abs(abs(right[0] @ layer.u.numpy()) - 1) < 1e-8


def test_a_training_call_takes_one_power_iteration(rng, conv_same):
    layer, x = make_layer(rng), rng.normal(size=(2, 4, 6, 3))
    matrix, u = matrix_of(layer), layer.u.numpy()
    for _ in range(2):
        v = unit(matrix @ u)
        u = unit(v @ matrix)
        y = layer(x, training=True)
        np.testing.assert_allclose(layer.u.numpy(), u, rtol=1e-12)
        np.testing.assert_allclose(layer.v.numpy(), v, rtol=1e-12)
        want = conv_same(x, layer.kernel.numpy() / (v @ matrix @ u)) + layer.bias.numpy()
        np.testing.assert_allclose(y, want, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(matrix_of(layer), matrix)  # the kernel itself is not changed


@pytest.mark.parametrize("scale", [1.0, 0.9])
def test_evaluation_uses_the_stored_u_and_v(rng, conv_same, scale):
    layer, x = make_layer(rng), rng.normal(size=(1, 4, 4, 3))
    u, v = scale * unit(rng.normal(size=5)), scale * unit(rng.normal(size=27))
    layer.u.assign(u)
    layer.v.assign(v)
    y = layer(x, training=False)
    want = conv_same(x, layer.kernel.numpy() / (v @ matrix_of(layer) @ u)) + layer.bias.numpy()
    np.testing.assert_allclose(y, want, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(layer.u.numpy(), u)
    np.testing.assert_array_equal(layer.v.numpy(), v)


@pytest.mark.parametrize("training", [True, False])
def test_gradient_flows_through_sigma(rng, training):
    """With Wn = W / sigma and G = dL/dWn: dL/dW = (G - <G, Wn> v u^T) / sigma."""
    layer, x = make_layer(rng, size=1), rng.normal(size=(2, 3, 4, 3))
    target = rng.normal(size=(2, 3, 4, 5))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=training) * target)
    got = tape.gradient(loss, layer.kernel.value).numpy()[0, 0]
    u, v, matrix = layer.u.numpy(), layer.v.numpy(), matrix_of(layer)
    sigma = v @ matrix @ u
    plain = x.reshape(-1, 3).T @ target.reshape(-1, 5)
    want = (plain - (plain * matrix / sigma).sum() * np.outer(v, u)) / sigma
    np.testing.assert_allclose(got, want, rtol=1e-10)
    assert np.abs(got - plain / sigma).max() > 0.1  # not the gradient without that term


def test_gradient_against_finite_differences(rng):
    layer, x = make_layer(rng), rng.normal(size=(1, 4, 4, 3))

    def loss():
        return tf.reduce_sum(tf.sin(layer(x, training=False)))

    with tf.GradientTape() as tape:
        value = loss()
    gradient = tape.gradient(value, layer.kernel.value).numpy()
    kernel, direction, step = layer.kernel.numpy(), rng.normal(size=layer.kernel.shape), 1e-6
    layer.kernel.assign(kernel + step * direction)
    above = loss()
    layer.kernel.assign(kernel - step * direction)
    slope = (above - loss()).numpy() / (2 * step)
    assert abs(slope - (gradient * direction).sum()) < 1e-6 * abs(slope)


@settings(max_examples=20, deadline=None)
@given(exponent=st.integers(-30, 30), seed=st.integers(0, 1000))
def test_the_scale_of_the_kernel_does_not_matter(exponent, seed):
    rng = np.random.default_rng(seed)
    layer, x = make_layer(rng, dtype="float32"), rng.normal(size=(1, 3, 3, 3)).astype(np.float32)
    u = layer.u.numpy()
    y = layer(x, training=True).numpy()
    layer.kernel.assign(layer.kernel.numpy() * 2.0**exponent)
    layer.u.assign(u)
    np.testing.assert_allclose(layer(x, training=True).numpy(), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-10, 1e10])
def test_tiny_and_huge_kernels_are_normalised(rng, scale):
    layer = make_layer(rng, dtype="float32")
    layer.kernel.assign(layer.kernel.numpy() * scale)
    for _ in range(50):
        layer.power_iteration()
    normalised = layer.normalised_kernel().numpy().reshape(-1, 5)
    assert abs(np.linalg.norm(normalised, ord=2) - 1) < 1e-3


def test_a_kernel_of_zeros_gives_nan(rng):
    u, v, _ = power_iteration(tf.zeros((27, 5)), tf.ones(5))
    np.testing.assert_array_equal(u, np.zeros(5))
    np.testing.assert_array_equal(v, np.zeros(27))
    layer = make_layer(rng, dtype="float32")
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    assert np.isnan(layer(np.ones((1, 3, 3, 3), np.float32), training=True)).all()  # documented


def test_initial_vectors_are_of_unit_length():
    layer = SpectralConv2D(64, 3)
    layer.build((None, None, None, 32))
    for vector in (layer.u, layer.v):
        assert abs(np.linalg.norm(vector.numpy()) - 1) < 1e-5
    deviation = 0.02 * np.sqrt(2 / (9 * 32 + 9 * 64))
    assert abs(layer.kernel.numpy().std() / deviation - 1) < 0.02


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_normalises_in_float32(rng, policy):
    layer, x = make_layer(rng, dtype=policy), np.ones((1, 4, 4, 3), np.float32)
    exact = SpectralConv2D(5, 3)
    exact.build((None, None, None, 3))
    exact.set_weights(layer.get_weights())
    y, want = layer(x, training=True), exact(x, training=True)
    rounded = keras.ops.cast(exact.normalised_kernel(), layer.compute_dtype)
    np.testing.assert_array_equal(layer.normalised_kernel(), rounded)
    np.testing.assert_array_equal(layer.u.numpy(), exact.u.numpy())
    np.testing.assert_allclose(keras.ops.cast(y, "float32"), want, rtol=0.05, atol=0.05)


def test_keras_contract(keras_contract):
    image = np.random.default_rng(1).normal(size=(2, 4, 6, 3)).astype(np.float32)
    keras_contract(lambda **options: SpectralConv2D(5, 3, **options), image)
    keras_contract(lambda **options: SpectralConv2D(5, 1, use_bias=False, **options), image)

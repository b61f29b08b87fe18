import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from oasis_tf.layers import resampling, winograd


@pytest.fixture(scope="module")
def arrays():
    """Input, kernel, upstream gradient and directions for second derivatives, float64."""
    rng = np.random.default_rng(0)
    shapes = (2, 6, 8, 3), (3, 3, 3, 5), (2, 6, 8, 5), (2, 6, 8, 3), (3, 3, 3, 5)
    return [tf.constant(rng.standard_normal(shape)) for shape in shapes]


def derivatives(conv, x, kernel, upstream, along_x, along_kernel):
    """Output, gradients, and gradients of a product of the gradients."""
    inputs = x, kernel, upstream
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = conv(x, kernel)
        gradients = tape.gradient(y, (x, kernel), output_gradients=upstream)
        product = sum(
            tf.reduce_sum(g * along)
            for g, along in zip(gradients, (along_x, along_kernel), strict=True)
        )
        # Not linear in any of them, so that second derivatives by all are there.
        product = product**2 + tf.reduce_sum(y * upstream)
    return [y, *gradients, *outer.gradient(product, inputs)]


def test_all_derivatives(arrays):
    wanted = derivatives(resampling.conv, *arrays)
    found = derivatives(winograd.conv3x3, *arrays)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_as_exact_as_the_convolution():
    """In float32, at a width and side at which it is used."""
    rng = np.random.default_rng(1)
    x, kernel = rng.standard_normal((1, 32, 32, 64)), rng.standard_normal((3, 3, 64, 64))
    exact = resampling.conv(tf.constant(x), tf.constant(kernel)).numpy()
    x, kernel = ops.cast(x, "float32"), ops.cast(kernel, "float32")
    with winograd.fewer_products():
        found = tf.function(winograd.conv)(x, kernel).numpy()
    assert np.abs(found - resampling.conv(x, kernel)).max() > 0  # it was used
    assert np.abs(found - exact).max() < 2e-6 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("shape", "filters", "dtype"),
    [
        ((None, 32, 32, 64), 64, "float32"),  # exported graphs
        ((1, 16, 32, 64), 64, "float32"),
        ((1, 33, 33, 64), 64, "float32"),
        ((1, 32, 32, 64), 3, "float32"),
        ((1, 32, 32, 64), 64, "bfloat16"),
    ],
)
def test_elsewhere_plain(shape, filters, dtype):
    @tf.function
    def convolved(x):
        with winograd.fewer_products():
            return winograd.conv(x, ops.zeros((3, 3, shape[-1], filters), dtype))

    graph = convolved.get_concrete_function(tf.TensorSpec(shape, dtype)).graph
    kinds = {op.type for op in graph.get_operations()}
    assert "Conv2D" in kinds and "MatMul" not in kinds


def test_only_where_it_is_asked_for():
    assert keras.backend.backend() == "tensorflow"
    x, kernel = tf.zeros((1, 32, 32, 64)), tf.zeros((3, 3, 64, 64))
    graph = tf.function(winograd.conv).get_concrete_function(x, kernel).graph
    assert {"Conv2D"} <= {op.type for op in graph.get_operations()}

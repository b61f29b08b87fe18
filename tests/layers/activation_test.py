"""LeakyReLU against NumPy. Its gradient needs only what the next layer keeps anyway."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers.activation import leaky_relu

VALUES = np.array([-3.0, -1e-30, -0.0, 0.0, 1e-30, 2.0])
SLOPES = np.array([0.2, 0.2, 0.2, 0.2, 1.0, 1.0])  # at zero, the slope of the negative side


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_equals_numpy(monkeypatch, dtype, backend):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    x = tf.constant(VALUES, dtype)
    upstream = tf.constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = leaky_relu(x)
    gradient = tape.gradient(y, x, upstream)
    assert y.dtype == gradient.dtype == dtype
    tolerance = 2**-7 if dtype == "bfloat16" else 1e-7  # the slope is a float32
    np.testing.assert_allclose(tf.cast(y, "float64"), VALUES * SLOPES, rtol=tolerance, atol=1e-32)
    want = SLOPES * tf.cast(upstream, "float64").numpy()
    np.testing.assert_allclose(tf.cast(gradient, "float64"), want, rtol=tolerance)


def test_the_input_is_not_kept(rng):
    """Between forward and backward pass one array per activation is kept, not two."""
    forward = (
        tf.function(lambda x: leaky_relu(x * 2.0))
        .get_concrete_function(tf.TensorSpec((7, 5)))
        .graph
    )
    with forward.as_default():
        x, y = forward.inputs[0], forward.outputs[0]
        gradient = tf.gradients(y, x)[0]
    used, front = set(), [gradient.op]
    while front:
        op = front.pop()
        for tensor in op.inputs:
            if tensor.op.name not in used:
                used.add(tensor.op.name)
                if tensor.op.type not in ("LeakyRelu", "Identity", "IdentityN"):
                    front.append(tensor.op)
    products = [op.name for op in forward.get_operations() if op.type == "Mul"]
    assert products and products[0] not in used

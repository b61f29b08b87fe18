"""Compiled parts compute what the functions themselves do: outputs, gradients and state."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers import SpectralConv2D
from oasis_tf.layers.compiled_parts import compiled_parts, part


@pytest.fixture
def layer(rng):
    layer = SpectralConv2D(4, 3, dtype="float64")
    layer.build((None, None, None, 3))
    for variable in layer.variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


def step(layer, x):
    """Gradients within a part, which has a part itself, then through one; moves u and v twice."""

    def forward():
        return layer(tf.tanh(x), training=True)

    def forward_and_back():
        kernel = layer.kernel.value
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([x, kernel])
            y = part(forward, layer)
        return {"y": y}, tape.gradient(y, [x, kernel])

    within, gradients = part(forward_and_back, layer)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = part(forward, layer)
    return within["y"], *gradients, y, *tape.gradient(y, [x, layer.kernel.value])


def test_equal_the_functions(rng, layer):
    x = tf.constant(rng.normal(size=(2, 4, 4, 3)))
    before = layer.get_weights()
    want, state = step(layer, x), layer.get_weights()
    layer.set_weights(before)

    @tf.function(autograph=False)
    def compiled(x):
        with compiled_parts():
            return step(layer, x)

    for got, value in zip(compiled(x), want, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-9, atol=1e-12)
    for got, value in zip(layer.get_weights(), state, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-12)
    assert (layer.get_weights()[-1] != before[-1]).any()


def test_a_part_is_one_computation(layer):
    def of(compiled):
        @tf.function(autograph=False)
        def graph(x):
            with compiled_parts(compiled):
                return step(layer, x)

        operations = graph.get_concrete_function(tf.TensorSpec((2, 4, 4, 3), "float64")).graph
        types = [operation.type for operation in operations.get_operations()]
        calls = [o for o in operations.get_operations() if "_XlaMustCompile" in o.node_def.attr]
        return types, calls

    types, calls = of(True)
    # The first part, the second one, and the gradient of that.
    assert not {"Conv2D", "Tanh", "MatMul"} & set(types) and len(calls) == 3
    types, calls = of(False)
    assert {"Conv2D", "Tanh"} <= set(types) and not calls


def test_elsewhere_a_part_is_its_function():
    result = object()
    assert part(lambda: result) is result
    with compiled_parts(False):
        assert part(lambda: result, keras.layers.Layer()) is result

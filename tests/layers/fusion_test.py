"""Fused functions compute the same as the functions themselves."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers import fusion
from oasis_tf.layers.fusion import fused

TOLERANCE = {"float64": 1e-14, "float32": 1e-6}


@pytest.fixture(autouse=True)
def tensors_count_as_large(monkeypatch):
    monkeypatch.setattr(fusion, "_SMALLEST_SIZE", 1)


def moved(rate, value, gradient):
    """Two results of different types."""
    step = rate * gradient / (tf.sqrt(tf.square(gradient) + 0.1) + 1e-3)
    return value - step, tf.cast(step, tf.bfloat16)


def make_arguments(rng, dtype):
    return [
        tf.constant(0.3, dtype),
        *(tf.constant(rng.normal(size=(3, 4)), dtype) for _ in range(2)),
    ]


def check(got, want, dtype):
    assert isinstance(got, tuple) and [g.dtype for g in got] == [dtype, "bfloat16"]
    np.testing.assert_allclose(got[0], want[0], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    np.testing.assert_allclose(*(tf.cast(x[1], "float32") for x in (got, want)), rtol=2**-7)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_equals_the_function(rng, dtype):
    function, arguments = fused(moved), make_arguments(rng, dtype)
    check(function(*arguments), moved(*arguments), dtype)
    shorter = [arguments[0], *(a[0] for a in arguments[1:])]  # another shape, the same function
    check(function(*shorter), moved(*shorter), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_takes_keras_variables(rng, dtype):
    rate, value, gradient = make_arguments(rng, dtype)
    variable = keras.Variable(value, dtype=dtype)
    function = fused(moved)
    for _ in range(2):  # the current value of the variable, not that of the first call
        check(function(rate, variable, gradient), moved(rate, variable.value, gradient), dtype)
        variable.assign_add(gradient)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_within_a_step(rng, jit_compile):
    """Inside a graph and inside one that is compiled as a whole, with a variable."""
    rate, value, gradient = make_arguments(rng, "float32")
    variable = keras.Variable(value, dtype="float32")
    function = fused(moved)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def step(rate, gradient):
        result = function(rate, variable, gradient)
        variable.assign(result[0])
        return result

    for _ in range(2):
        want = moved(rate, tf.convert_to_tensor(variable.value), gradient)
        check(step(rate, gradient), want, "float32")
        np.testing.assert_allclose(variable.numpy(), want[0], rtol=1e-6, atol=1e-6)


def test_gradient_passes(rng, check_same):
    arguments = make_arguments(rng, "float64")
    function = fused(lambda *args: moved(*args)[0])
    check_same(lambda: function(*arguments), lambda: moved(*arguments)[0], arguments)


def test_one_pass_over_memory():
    """The whole function is one compiled call: no operation is left to run one by one."""
    function = fused(moved)

    @tf.function(autograph=False)
    def step(rate, value, gradient):
        return function(rate, value, gradient)

    shape = tf.TensorSpec((8,))
    graph = step.get_concrete_function(tf.TensorSpec(()), shape, shape).graph
    calls = [op for op in graph.get_operations() if op.type.endswith("PartitionedCall")]
    assert len(calls) == 1 and calls[0].get_attr("_XlaMustCompile")
    assert not {op.type for op in graph.get_operations()} & {"Mul", "Sqrt", "RealDiv", "Sub"}


def test_on_other_backends_the_function_is_returned_unchanged(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert fused(moved) is moved


def test_small_tensors_are_not_compiled(rng, monkeypatch):
    monkeypatch.setattr(fusion, "_SMALLEST_SIZE", 13)
    function, arguments = fused(moved), make_arguments(rng, "float32")

    @tf.function(autograph=False)
    def step(*arguments):
        return function(*arguments)

    operations = {op.type for op in step.get_concrete_function(*arguments).graph.get_operations()}
    assert "Sqrt" in operations and not any("Call" in name for name in operations)
    check(function(*arguments), moved(*arguments), "float32")

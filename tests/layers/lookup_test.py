"""Look-ups against NumPy's indexing, their gradients against NumPy's scatter-add."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers.lookup import lookup, scale_and_shift

ROWS = 6
INDICES = {
    "each": [0, 1, 2, 3, 4, 5],
    "some": [5, 0, 3],
    "repeated": [2, 2, 2, 0, 2],
    "empty": [],
    "image": np.random.default_rng(0).integers(0, ROWS, (2, 3, 4)),
    "scalar": 4,
}


def lookup_and_gradient(table, index, upstream):
    table = tf.convert_to_tensor(table)
    with tf.GradientTape() as tape:
        tape.watch(table)
        rows = lookup(table, tf.constant(index, tf.int32))
    return rows, tf.convert_to_tensor(tape.gradient(rows, table, tf.cast(upstream, rows.dtype)))


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", INDICES)
def test_equals_numpy(rng, monkeypatch, kind, dtype, backend):
    """Both paths on TensorFlow tensors; backends_test.py has half precision on other backends."""
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    index = np.array(INDICES[kind], np.int32)
    table = rng.normal(size=(ROWS, 3)).astype(dtype)
    upstream = rng.normal(size=(*index.shape, 3)).astype(dtype)
    rows, gradient = lookup_and_gradient(table, index, upstream)
    assert rows.dtype == gradient.dtype == dtype
    np.testing.assert_array_equal(rows, table[index])
    want = np.zeros(table.shape)
    np.add.at(want, index, upstream)
    tolerance = 1e-14 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(gradient, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("dtype", "terms"),
    [("bfloat16", 65536), ("float16", 32768)],  # sums in these types would stop at 256 and 2048
)
def test_half_precision_gradients_are_summed_in_float32(dtype, terms):
    table = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype)
    index = np.full((2, terms // 2), 1)
    rows, gradient = lookup_and_gradient(table, index, tf.ones((*index.shape, 2)))
    assert rows.dtype == gradient.dtype == dtype
    np.testing.assert_array_equal(tf.cast(rows[0, 0], "float32"), [3, 4])
    want = [[0, 0], [terms, terms], [0, 0]]
    np.testing.assert_array_equal(tf.cast(gradient, "float32"), want)


def test_rounds_the_sum_once(rng):
    """The gradient in bfloat16 is the rounded sum of the upstream gradients."""
    upstream = tf.cast(rng.normal(size=(5000, 1)), tf.bfloat16)
    table = tf.zeros((1, 1), tf.bfloat16)
    _, gradient = lookup_and_gradient(table, np.zeros(5000), upstream)
    want = tf.cast(tf.reduce_sum(tf.cast(upstream, tf.float64)), tf.bfloat16)
    np.testing.assert_allclose(
        tf.cast(gradient[0, 0], "float64"), tf.cast(want, "float64"), rtol=0.01
    )


def test_sizes_known_at_run_time_only(rng):
    """In a graph, as inside a model, with an unknown number of rows and look-ups."""

    @tf.function(input_signature=[tf.TensorSpec((None, 2)), tf.TensorSpec((None, None), tf.int32)])
    def run(table, index):
        with tf.GradientTape() as tape:
            tape.watch(table)
            rows = lookup(table, index)
            loss = tf.reduce_sum(rows * rows)
        return rows, tf.convert_to_tensor(tape.gradient(loss, table))

    table, index = rng.normal(size=(ROWS, 2)).astype(np.float32), rng.integers(0, ROWS, (3, 5))
    rows, gradient = run(tf.constant(table), tf.constant(index, tf.int32))
    np.testing.assert_array_equal(rows, table[index])
    want = 2 * table * np.bincount(index.ravel(), minlength=ROWS)[:, None]
    np.testing.assert_allclose(gradient, want, rtol=1e-6)


def test_gradients_of_two_look_ups_are_added(rng, check_same):
    table = tf.constant(rng.normal(size=(ROWS, 3)))
    first, second = (tf.constant(rng.integers(0, ROWS, (4, 5))) for _ in range(2))
    check_same(
        lambda: lookup(table, first) * lookup(table, second),
        lambda: (
            tf.one_hot(first, ROWS, dtype=tf.float64)
            @ table
            * (tf.one_hot(second, ROWS, dtype=tf.float64) @ table)
        ),
        [table],
    )


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 4)])
def test_scale_and_shift_equals_two_look_ups(rng, check_same, size):
    index = tf.constant(rng.integers(0, ROWS, size))
    x = tf.constant(rng.normal(size=(*size, 3)))
    scale, shift = (tf.constant(rng.normal(size=(ROWS, 3))) for _ in range(2))
    field = tf.one_hot(index, ROWS, dtype=tf.float64)
    check_same(
        lambda: scale_and_shift(x, scale, shift, index),
        lambda: x * (field @ scale) + field @ shift,
        [x, scale, shift],
    )


def test_scale_and_shift_gradients_are_summed_in_float32():
    x, table = tf.ones((1, 64, 64, 1), tf.bfloat16), tf.ones((2, 1), tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch([x, table])
        y = scale_and_shift(x, table, 2 * table, tf.zeros((1, 64, 64), tf.int32))
    of_x, of_table = tape.gradient(y, [x, table])
    assert y.dtype == of_x.dtype == of_table.dtype == tf.bfloat16
    np.testing.assert_array_equal(tf.cast(of_table, "float32"), [[3 * 4096], [0]])

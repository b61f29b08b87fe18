"""What goes over replicas, against NumPy; real replicas are in the tests of the systems."""

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.layers import replicas


class Rows:
    """Stands in for a replica's context: row k of every tensor is that of replica k."""

    def __init__(self, count):
        self.num_replicas_in_sync = count
        self.calls = []

    def all_reduce(self, operation, values):
        self.calls.append((operation, [v.dtype.name for v in tf.nest.flatten(values)]))
        return tf.nest.map_structure(lambda v: tf.reduce_sum(v, 0, keepdims=True), values)


@pytest.fixture
def rows(monkeypatch):
    context = Rows(4)
    monkeypatch.setattr(replicas, "_replica_context", lambda: context)
    return context


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-9), ("float32", 2e-3)])
def test_moments(rows, rng, dtype, rtol):
    """Of replicas with other means, of means a thousand times the deviation, and of a constant."""
    x = rng.normal(0, 0.1, (4, 50, 3)) + [0, 100, 0]
    x[..., 0] += rng.normal(0, 3, (4, 1))
    x[..., 2] = 7
    x = x.astype(dtype).astype("float64")
    own = (tf.constant(f(x, axis=1), dtype) for f in (np.mean, np.var))
    mean, variance = replicas.moments_over_replicas(*own)
    np.testing.assert_allclose(mean[0], x.mean((0, 1)), rtol=1e-6 if dtype == "float32" else 1e-12)
    np.testing.assert_allclose(variance[0], x.var((0, 1)), rtol=rtol, atol=1e-12)
    assert (mean.dtype, variance.dtype) == (dtype, dtype) and (variance.numpy() >= 0).all()
    assert rows.calls == [("SUM", 2 * ["float64"])]


def test_sums_and_means(rows):
    means = replicas.mean_over_replicas({"a": tf.constant([[1.0], [2.0], [3.0], [6.0]])})
    assert means["a"].numpy() == 3
    total = replicas.sum_over_replicas(tf.constant([[2**30], [1], [2], [4]]))
    assert total.dtype == "int32" and total.numpy() == 2**30 + 7
    # TensorFlow has no collective operation for int32.
    assert [types for _, types in rows.calls] == [["float32"], ["int64"]]


def test_one_device_gives_back_what_it_is_given():
    value = tf.constant(1.0)
    assert replicas.mean_over_replicas(value) is value
    assert replicas.sum_over_replicas(value) is value
    assert replicas.moments_over_replicas(value, value) == (value, value)
    assert replicas.num_replicas() == 1

"""Sums, means and moments over replicas, for layers and losses.

Under ``tf.distribute`` they go over all replicas of all workers and are differentiable. Everywhere
else (one device, other Keras backends) they are the identity.

What several replicas wait for costs time however small it is. So what is known together is summed
together, in one collective operation, and what every replica computes itself is not sent.
"""

import keras
from keras import ops


def _replica_context():
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def num_replicas():
    """Number of replicas that share the global batch; 1 outside ``tf.distribute``."""
    context = _replica_context()
    return context.num_replicas_in_sync if context else 1


def sum_over_replicas(x):
    """Sum of ``x`` over all replicas, with its shape and dtype, on each of them."""
    context = _replica_context()
    if context is None:
        return x
    if not keras.backend.is_int_dtype(x.dtype):
        return context.all_reduce("SUM", x)
    # TensorFlow copies int32 to one device and back, instead of summing it where it is.
    return ops.cast(context.all_reduce("SUM", ops.cast(x, "int64")), x.dtype)


def mean_over_replicas(values):
    """Means of nested float tensors of one dtype over all replicas, by one collective operation.

    All replicas hold the same number of examples.
    """
    context = _replica_context()
    if context is None:
        return values
    import tensorflow as tf

    sums = context.all_reduce("SUM", values)
    return tf.nest.map_structure(lambda total: total / context.num_replicas_in_sync, sums)


def moments_over_replicas(mean, variance):
    """Mean and biased variance of the values of all replicas, from those of each one's own values.

    The variance is ``E[variance + mean^2] - E[mean]^2``, so that one collective operation gives
    both. The difference cancels where means are large, hence float64.

    Args:
        mean, variance: float [C], of equally many values on every replica.
    """
    if _replica_context() is None:
        return mean, variance
    first, second = ops.cast(mean, "float64"), ops.cast(variance, "float64")
    first, second = mean_over_replicas([first, second + ops.square(first)])
    second = ops.maximum(second - ops.square(first), 0)
    return ops.cast(first, mean.dtype), ops.cast(second, variance.dtype)


def assign_same(variable, value):
    """``variable.assign(value)`` for a value that every replica has computed alike: none is sent.

    Args:
        variable: Keras variable, with the aggregation "only_first_replica".
        value: tensor of its shape.
    """
    context, copies = _replica_context(), variable.value
    if context is None or not hasattr(copies, "values"):  # one device, or a ``StatelessScope``
        variable.assign(value)
        return

    def assign_own(strategy, values):
        strategy.extended.update(
            copies, lambda copy, value: copy.assign(value), args=(values,), group=False
        )

    context.merge_call(assign_own, args=(ops.cast(value, variable.dtype),))


def all_rows(x):
    """The rows of all replicas, in their order, of ``x`` [B, ...], which holds those of one.

    Differentiable. Every replica holds the same number of rows.
    """
    context = _replica_context()
    if context is None:
        return x
    rows = context.all_gather(x, axis=0)
    rows.set_shape((x.shape[0] * context.num_replicas_in_sync, *x.shape[1:]))
    return rows

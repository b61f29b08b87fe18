"""Sums and means over replicas, for layers and losses.

Under ``tf.distribute`` they go over all replicas of all workers and are differentiable. Everywhere
else (one device, other Keras backends) they are the identity.
"""

import keras


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
    return context.all_reduce("SUM", x) if context else x


def mean_over_replicas(x):
    """Mean of ``x`` over all replicas, which hold the same number of examples."""
    context = _replica_context()
    return context.all_reduce("SUM", x) / context.num_replicas_in_sync if context else x


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

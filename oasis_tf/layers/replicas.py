"""The one place where layers and losses meet other replicas.

Under ``tf.distribute`` the sums go over all replicas of all workers and are differentiable;
everywhere else (one device, other Keras backends) they are the identity.
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
    """Sum of ``x`` over all replicas, same shape and dtype, known to each of them."""
    context = _replica_context()
    return context.all_reduce("SUM", x) if context else x


def mean_over_replicas(x):
    """Mean of ``x`` over all replicas (they hold equally many examples)."""
    context = _replica_context()
    return context.all_reduce("SUM", x) / context.num_replicas_in_sync if context else x

"""Stateless random numbers: a seed, the number of a stream and the step decide every bit.

The algorithm is named (philox), never chosen by device. What is drawn within a training step is
drawn for the rows of the global batch, so that it does not depend on the number of replicas.
"""

import hashlib
import operator

import numpy as np
import tensorflow as tf

_ALGORITHM = "philox"


def named_stream(name):
    """The number of the stream of a name, such as "one_shot/crop".

    Streams of different names are independent. The names of a system start with the system's own;
    OASIS' streams are older than names and have the numbers 0 to 9, which no name has.

    Args:
        name: str.

    Returns:
        int, at least 2**32.
    """
    digest = hashlib.sha256(name.encode()).digest()
    return 2**32 + int.from_bytes(digest[:7])


def make_key(seed, stream, *numbers):
    """A key int64 [2]; of two keys that differ in any argument, the draws are independent.

    Args:
        seed: int or int64 scalar.
        stream: int, what the draw is for.
        *numbers: ints or int scalars, such as the step.
    """
    key = tf.stack([tf.cast(seed, tf.int64), tf.constant(stream, tf.int64)])
    for number in numbers:
        key = folded(key, number)
    return key


def folded(key, number):
    """A key for one of many draws that a key is for."""
    return tf.random.fold_in(key, tf.cast(number, tf.int64), alg=_ALGORITHM)


def normal(key, shape):
    """Standard normal float32 of a shape."""
    return tf.random.stateless_normal(shape, key, alg=_ALGORITHM)


def uniform(key, shape):
    """Float32 of a shape, uniform in [0, 1)."""
    return tf.random.stateless_uniform(shape, key, alg=_ALGORITHM)


def bits(key, shape):
    """Fair bits of a shape: int32, 0 or 1."""
    return tf.random.stateless_uniform(shape, key, None, None, tf.int32, alg=_ALGORITHM) & 1


def normal_rows(key, first, count, shape):
    """Standard normal float32 [count, *shape]; a row is decided by its number from ``first`` on.

    Args:
        key: key.
        first, count: ints or int scalars.
        shape: list of ints or int scalars.
    """
    numbers = first + tf.range(count)
    return _mapped(lambda number: normal(folded(key, number), shape), numbers, shape)


def normal_by_seed(seed, stream, shape):
    """Standard normal float32 [B, *shape]; a row is decided by its own seed, never by its batch.

    Args:
        seed: int64 [B].
        stream: int.
        shape: list of ints.
    """
    return _mapped(lambda one_seed: normal(make_key(one_seed, stream), shape), seed, shape)


def uniform_by_seed(seed, stream, shape):
    """As ``normal_by_seed``, but uniform in [0, 1)."""
    return _mapped(lambda one_seed: uniform(make_key(one_seed, stream), shape), seed, shape)


def _mapped(row, numbers, shape):
    sizes = [size if isinstance(size, int) else None for size in shape]
    return tf.map_fn(row, numbers, fn_output_signature=tf.TensorSpec(sizes, tf.float32))


def own_rows(rows, batch):
    """Of the rows of a global batch those of this replica, which holds ``batch`` of them."""
    first = tf.distribute.get_replica_context().replica_id_in_sync_group * batch
    return rows[first : first + batch]


def as_seeds(seed, batch):
    """``seed`` (an int or [B]) as int64 [B].

    Raises:
        ValueError: a list of seeds whose length is not ``batch``.
    """
    seeds = np.asarray(seed, dtype=np.int64)
    if seeds.ndim == 0:
        return np.full(batch, seeds)
    if seeds.shape != (batch,):
        raise ValueError(
            f"`seed` must be an int or one int per image. Received: shape={seeds.shape} for "
            f"{batch} images."
        )
    return seeds


def sample_seeds(seed, num_samples=None):
    """Seeds of several samples of one thing, int64 [K]; or None for one sample.

    Args:
        seed: int; or a list of K seeds.
        num_samples: int K >= 1, for the seeds ``seed``, ``seed + 1``, ...; or None.

    Raises:
        ValueError: no sample, or both a list of seeds and ``num_samples``.
    """
    seeds = np.asarray(seed, dtype=np.int64)
    if num_samples is None:
        return seeds if seeds.ndim else None
    if seeds.ndim:
        raise ValueError(
            "`num_samples` counts seeds from one on. Give it with an int as `seed`, or give a list "
            f"of seeds alone. Received: num_samples={num_samples}, {seeds.size} seeds."
        )
    if operator.index(num_samples) < 1:
        raise ValueError(f"`num_samples` must be at least 1. Received: num_samples={num_samples}.")
    return seeds + np.arange(num_samples)

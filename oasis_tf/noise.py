"""Random numbers of OASIS: stateless, so that (seed, step) or a seed alone decides every bit.

The algorithm is named (philox), never chosen by device. Noise for training is drawn for the global
batch, whatever the number of replicas.
"""

import numpy as np
import tensorflow as tf

# What a draw within a step is for; each gets a stream of its own.
GENERATOR_STEP, DISCRIMINATOR_STEP, LABELMIX, STATISTICS = range(4)
# What the vectors of `numbered_noise` belong to.
CLASSES, SEGMENTS, PIXELS = range(4, 7)
CUTMIX = 32  # a draw within a step too


def _key(seed, stream):
    """A philox key [2] of int64 that keeps (seed, stream) apart from every other pair."""
    return tf.stack([tf.cast(seed, tf.int64), tf.constant(stream, tf.int64)])


def _folded(key, *numbers):
    for number in numbers:
        key = tf.random.fold_in(key, tf.cast(number, tf.int64), alg="philox")
    return key


def training_noise(seed, step, stream, batch, noise_channels, index=0):
    """Noise of one forward pass for the global batch: float32 [batch, Z], standard normal.

    Args:
        seed, step: int or int64 scalars.
        stream: ``GENERATOR_STEP``, ``DISCRIMINATOR_STEP`` or ``STATISTICS``.
        batch: int, size of the global batch.
        noise_channels: int Z.
        index: int or int64 scalar, tells several passes of one step and stream apart.
    """
    key = _folded(_key(seed, stream), step, index)
    return tf.random.stateless_normal([batch, noise_channels], key, alg="philox")


def labelmix_bits(seed, step, num_classes, batch=None):
    """One fair bit per class for one step: int32 [N]; [batch, N] for every image its own.

    Args:
        seed, step: int or int64 scalars.
        num_classes: int N.
        batch: int, size of the global batch; None for bits that all images share.
    """
    key = _folded(_key(seed, LABELMIX), step)
    shape = [num_classes] if batch is None else [batch, num_classes]
    return tf.random.stateless_uniform(shape, key, None, None, tf.int32, alg="philox") & 1


def sample_noise(seed, noise_channels):
    """The noise vector of every image, decided by its own seed alone, never by its batch.

    Args:
        seed: int64 [B].

    Returns:
        float32 [B, Z], standard normal.
    """

    def row(one_seed):
        return tf.random.stateless_normal([noise_channels], _key(one_seed, 0), alg="philox")

    return tf.map_fn(row, seed, fn_output_signature=tf.TensorSpec([noise_channels], tf.float32))


def numbered_noise(seed, stream, count, noise_channels):
    """Vectors 0..count-1 of one seed; vector k is the same whatever the count.

    They are the rows of one draw, so no two of them share a number of the generator, and every
    (seed, stream) has a key of its own, which `sample_noise` never uses.

    Args:
        seed: int64 scalar.
        stream: ``CLASSES``, ``SEGMENTS`` or ``PIXELS``.
        count: int.
        noise_channels: int Z.

    Returns:
        float32 [count, Z], standard normal.
    """
    return tf.random.stateless_normal([count, noise_channels], _key(seed, stream), alg="philox")


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


def cutmix_draws(seed, step, batch):
    """What decides the boxes of CutMix in one step, for the global batch.

    Args:
        seed, step: int or int64 scalars.
        batch: int, size of the global batch.

    Returns:
        float32 [batch, 4], uniform in [0, 1), for ``losses.cutmix_mask``.
    """
    key = _folded(_key(seed, CUTMIX), step)
    return tf.random.stateless_uniform([batch, 4], key, alg="philox")

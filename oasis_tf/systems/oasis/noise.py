"""What OASIS draws, and the streams that it draws from (see ``oasis_tf/randomness.py``).

Noise for training belongs to the rows of the global batch, whatever the number of replicas.
"""

import tensorflow as tf

from oasis_tf.randomness import (
    bits,
    make_key,
    named_stream,
    normal,
    normal_by_seed,
    normal_rows,
    uniform,
)

# What a draw within a step is for; each gets a stream of its own.
GENERATOR_STEP, DISCRIMINATOR_STEP, LABELMIX, STATISTICS = range(4)
# What the vectors of `numbered_noise` belong to.
CLASSES, SEGMENTS, PIXELS = range(4, 7)
COIN, LATENT, CUTMIX = range(7, 10)  # draws within a step too
VALIDATION = named_stream("oasis/validation")  # draws of `evaluate`, the same for every batch

# Noise while training: one vector per image, per class of every image, per pixel; or, by a coin for
# every step, per image or per class.
KINDS = ("none", "image", "region", "pixel", "mix")


def training_noise(seed, step, stream, batch, noise_channels, index=0):
    """Noise of one forward pass for the global batch: float32 [batch, Z], standard normal.

    Args:
        seed, step: int or int64 scalars.
        stream: ``GENERATOR_STEP``, ``DISCRIMINATOR_STEP`` or ``STATISTICS``.
        batch: int, size of the global batch.
        noise_channels: int Z.
        index: int or int64 scalar, tells several passes of one step and stream apart.
    """
    return normal(make_key(seed, stream, step, index), [batch, noise_channels])


def labelmix_bits(seed, step, num_classes, batch=None):
    """One fair bit per class for one step: int32 [N]; [batch, N] for every image its own.

    Args:
        seed, step: int or int64 scalars.
        num_classes: int N.
        batch: int, size of the global batch; None for bits that all images share.
    """
    shape = [num_classes] if batch is None else [batch, num_classes]
    return bits(make_key(seed, LABELMIX, step), shape)


def sample_noise(seed, noise_channels):
    """The noise vector of every image, decided by its own seed alone, never by its batch.

    Args:
        seed: int64 [B].

    Returns:
        float32 [B, Z], standard normal.
    """
    return normal_by_seed(seed, GENERATOR_STEP, [noise_channels])


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
    return normal(make_key(seed, stream), [count, noise_channels])


def replica_noise(
    kind, label_map, num_classes, noise_channels, seed, step, stream, index=0, replica=0, replicas=1
):
    """Noise of one forward pass for the label maps of one replica, as a generator takes it.

    An image's noise is decided by its row in the global batch: all replicas together have what one
    would have. Each draws no more than its own, but for noise of kind ``image``, which is small.

    Args:
        kind: one of ``KINDS``.
        label_map: int [B, H, W], this replica's rows of the global batch.
        num_classes: int N.
        noise_channels: int Z.
        seed, step, stream, index: as in ``training_noise``.
        replica: int or int scalar, which of the ``replicas`` this is.
        replicas: int, replicas that share the global batch.

    Returns:
        ``none``: None. ``image``: float32 [B, Z], rows of ``training_noise``. ``region``: float32
        [B, H, W, Z], one vector per class of every image. ``pixel``: [B, H, W, Z], one per pixel.
        ``mix``: [B, H, W, Z], as ``region`` or as ``image``, everywhere the same.

    Raises:
        ValueError: another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}. Received: kind={kind}.")
    if kind == "none":
        return None
    batch = tf.shape(label_map)[0]
    first, key = replica * batch, make_key(seed, stream, step, index)

    def image():
        drawn = training_noise(seed, step, stream, replicas * batch, noise_channels, index)
        return drawn[first : first + batch]

    def region():
        vectors = normal_rows(key, first, batch, [num_classes, noise_channels])
        return tf.gather(vectors, tf.cast(label_map, tf.int32), batch_dims=1)

    def everywhere():
        shape = tf.concat([tf.shape(label_map), [noise_channels]], axis=0)
        return tf.broadcast_to(image()[:, None, None], shape)

    if kind == "image":
        return image()
    if kind == "region":
        return region()
    if kind == "mix":
        return tf.cond(mixes_regions(seed, step, index), region, everywhere)
    height, width = label_map.shape[1:]
    if None in (height, width):
        height, width = tf.unstack(tf.shape(label_map)[1:])
    return normal_rows(key, first, batch, [height, width, noise_channels])


def mixes_regions(seed, step, index=0):
    """Whether noise of kind ``mix`` is by region in a step, in all its streams: a fair coin."""
    return bits(make_key(seed, COIN, step, index), []) == 1


def latent_noise(seed, step, stream, batch, latent_channels, index=0):
    """What latent vectors of an encoder are drawn with: float32 [batch, L], standard normal.

    As ``training_noise`` for the global batch, but independent of it: 3D noise may stand beside.
    """
    return normal(make_key(seed, LATENT, stream, step, index), [batch, latent_channels])


def cutmix_draws(seed, step, batch):
    """What decides the boxes of CutMix in one step, for the global batch.

    Args:
        seed, step: int or int64 scalars.
        batch: int, size of the global batch.

    Returns:
        float32 [batch, 4], uniform in [0, 1), for ``losses.cutmix_mask``.
    """
    return uniform(make_key(seed, CUTMIX, step), [batch, 4])

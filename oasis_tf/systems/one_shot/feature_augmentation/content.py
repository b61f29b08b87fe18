"""Augmentation of content vectors: channels of the next image, channels set to zero."""

from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops

from oasis_tf import randomness
from oasis_tf.layers.replicas import all_rows
from oasis_tf.randomness import own_rows

_SHARES = (0.1, 0.3)  # of the channels


class ContentDecisions(NamedTuple):
    """Channels that change, for the global batch.

    Attributes:
        mix: bool [B // 2, C], channels that image 2i takes from image 2i + 1.
        drop: bool [C], channels that become 0 in all images.
    """

    mix: Any
    drop: Any


def draw(key, batch, channels, probability):
    """``ContentDecisions``: each of mix and drop with a probability for the whole batch.

    Args:
        key: key of ``oasis_tf.randomness``.
        batch: int, rows of the global batch.
        channels: int C.
        probability: float.
    """
    pairs = batch // 2
    numbers = randomness.uniform(randomness.folded(key, 0), [pairs + 1, channels])
    low, high = _SHARES
    shares = low + (high - low) * randomness.uniform(randomness.folded(key, 1), [pairs + 1, 1])
    ranks = tf.argsort(tf.argsort(numbers, axis=-1), axis=-1)
    chosen = ranks < tf.cast(channels * shares, tf.int32)
    on = randomness.uniform(randomness.folded(key, 2), [2]) < probability
    return ContentDecisions(chosen[:pairs] & on[0], chosen[pairs] & on[1])


def apply(vectors, decisions, batch):
    """Content vectors after mix and drop. Of vectors of objects, those of the background change.

    Mixing goes one way: image 2i + 1 keeps its own channels. The last image of an odd batch is
    never mixed.

    Args:
        vectors: float [B or N * B, 1, 1, C] of this replica, object-major.
        decisions: ``ContentDecisions``.
        batch: int, rows of this replica.
    """
    channels = vectors.shape[-1]
    background = ops.reshape(vectors[:batch], (batch, channels))
    rows = all_rows(background)
    pairs = decisions.mix.shape[0]
    if pairs:
        first, second = rows[0 : 2 * pairs : 2], rows[1 : 2 * pairs : 2]
        mixed = ops.where(decisions.mix, second, first)
        both = ops.reshape(ops.stack([mixed, second], axis=1), (2 * pairs, channels))
        rows = ops.concatenate([both, rows[2 * pairs :]], axis=0)
    rows = ops.where(decisions.drop, ops.zeros_like(rows), rows)
    changed = ops.reshape(own_rows(rows, batch), (batch, 1, 1, channels))
    return ops.concatenate([changed, vectors[batch:]], axis=0)

"""Augmentation of layout features: what stands where.

Every change copies pixels within the batch. So a decision is one map of sources: the number of the
pixel, of the whole global batch, that each pixel is taken from.
"""

from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops

from oasis_tf import randomness
from oasis_tf.layers.replicas import all_rows
from oasis_tf.randomness import own_rows

_SIDES = (0.1, 0.5)  # of rectangles, as shares of the map's
ATTEMPTS = 5


def apply(features, source):
    """Features [B, h, w, C] of this replica, with every pixel taken from its source.

    Args:
        features: float [B, h, w, C].
        source: int32 [global B, h, w], numbers of pixels of the global batch.
    """
    batch, height, width, channels = features.shape
    flat = ops.reshape(all_rows(features), (-1, channels))
    return ops.take(flat, own_rows(source, batch), axis=0)


def unchanged(batch, height, width):
    """The map of sources int32 [B, h, w] that changes nothing."""
    return tf.reshape(tf.range(batch * height * width), (batch, height, width))


def rectangles(numbers, height, width, sizes=None):
    """Rectangles (x1, x2, y1, y2) [..., 4], rows x and columns y, ends exclusive.

    The last row and column are never inside. Small maps may give empty rectangles.

    Args:
        numbers: float [..., 4] in [0, 1): centre and sides.
        height, width: ints, of the map.
        sizes: rectangles whose heights and widths are taken, [..., 4]; or None.
    """
    low, high = _SIDES
    parts = []
    for k, side in enumerate((height, width)):
        centre, length = numbers[..., k], low + (high - low) * numbers[..., k + 2]
        first = tf.cast((centre - length / 2) * side, tf.int32)  # towards zero
        last = tf.cast((centre + length / 2) * side, tf.int32)
        if sizes is not None:
            last = first + sizes[..., 2 * k + 1] - sizes[..., 2 * k]
        shift = tf.maximum(-first, 0)
        first, last = first + shift, last + shift
        shift = tf.maximum(last - side + 1, 0)
        parts += [first - shift, last - shift]
    return tf.stack(parts, axis=-1)


def inside(rectangle, height, width):
    """Bool [..., h, w], where the pixels of rectangles [..., 4] are."""
    x1, x2, y1, y2 = (part[..., None, None] for part in tf.unstack(rectangle, axis=-1))
    rows, columns = tf.range(height)[:, None], tf.range(width)[None]
    return (rows >= x1) & (rows < x2) & (columns >= y1) & (columns < y2)


def exchanged(source, region, one_way=False):
    """Sources after pairs of images exchange regions at the same place.

    Args:
        source: int32 [B, h, w].
        region: bool [B // 2, h, w].
        one_way: bool, whether only the first image of a pair changes.
    """
    pairs = region.shape[0]
    first, second = source[0 : 2 * pairs : 2], source[1 : 2 * pairs : 2]
    new_first = tf.where(region, second, first)
    new_second = second if one_way else tf.where(region, first, second)
    return rejoined(new_first, new_second, source)


def rejoined(first, second, source):
    """Sources [B, h, w] of the first and second images of all pairs, and what is left over."""
    pairs = first.shape[0]
    both = tf.reshape(tf.stack([first, second], axis=1), (2 * pairs, *source.shape[1:]))
    return tf.concat([both, source[2 * pairs :]], axis=0)


# === Without masks ===


class Rectangles(NamedTuple):
    """Exchanges of rectangles.

    Attributes:
        rectangle: int [B // 2, 4]. on: bool [B // 2].
    """

    rectangle: Any
    on: Any

    def source(self, batch, height, width, one_way=False):
        """The map of sources."""
        region = inside(self.rectangle, height, width) & self.on[:, None, None]
        return exchanged(unchanged(batch, height, width), region, one_way)


def draw_rectangles(key, batch, height, width, probability):
    """``Rectangles``, one for every pair of images, each with a probability."""
    numbers = randomness.uniform(key, [batch // 2, 5])
    return Rectangles(rectangles(numbers[:, :4], height, width), numbers[:, 4] < probability)

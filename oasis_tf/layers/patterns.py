"""Pixels with the same surroundings are modulated the same: compute each kind of surroundings once.

A SPADE norm sees nothing but labels and noise. Call (label, noise vector) the *condition* of a
pixel. ``hidden = relu(conv3x3(condition))`` at a pixel is a function of the 3x3 conditions around
it, and ``gamma, beta = conv3x3(hidden)`` one of the 3x3 kinds of hidden values around it; equal
inputs, equal outputs. With one noise vector per image, few surroundings are distinct: in street
scenes of 256x256 some 3 % of the 3x3 and 9 % of the 5x5 ones. So the two convolutions run over the
distinct surroundings, as matrix products, and every pixel looks its result up. Gradients are sums
over the pixels that looked up the same row, which is the same sum in another order.

A convolution is a sum of nine products, each of one neighbour and one tap. A neighbour's product
does not depend on where it is met, so it is taken once for each kind of neighbour, not once for
each kind of window; windows add rows up. They share three of a line, too: first the lines are
added, then three of them.

Surroundings are told apart exactly: a triple of numbers below M is one number below M^3, and
``unique`` renumbers after every triple so that M stays small; no hashing. What lies outside the
image is a condition of its own, which contributes nothing (zero padding).

TensorFlow only, and not for XLA: how many rows there are is known at run time, which JAX does not
allow, and for which XLA keeps as many rows as there are pixels.
"""

import functools
import operator
from typing import Any, NamedTuple

from keras import ops

from oasis_tf.layers.lookup import lookup

# Triples of numbers below this fit into int64; of larger ones, pairs do and are renumbered first.
_MOST_KINDS = 2**21


class Patterns(NamedTuple):
    """The distinct surroundings of a batch of label maps, all int32.

    Attributes:
        index: [B, H, W], which of P 5x5 surroundings a pixel has.
        columns: [P, 3], which of R lines are above, at and below a pixel.
        lines: [R, 3], the 3x3 surroundings, 0..Q-1, left of, at and right of a pixel; Q is outside.
        conditions: [Q, 9], the conditions, 0..S-1, at and around a pixel; S is outside.
        labels: [S], label of a condition.
        noises: [S], number of the noise vector of a condition.
    """

    index: Any
    columns: Any
    lines: Any
    conditions: Any
    labels: Any
    noises: Any

    @property
    def neighbours(self):
        """[P, 9], the 3x3 surroundings, 0..Q-1, at and around a pixel; Q is outside."""
        return ops.reshape(ops.take(self.lines, self.columns, axis=0), (-1, 9))


def find_patterns(label_map, noise_index):
    """Distinct surroundings of a batch.

    Args:
        label_map: int [B, H, W].
        noise_index: int [B, H, W] or broadcastable to it, the number of a pixel's noise vector.

    Returns:
        ``Patterns``.
    """
    import tensorflow as tf

    label_map = tf.cast(label_map, tf.int64)
    noise_index = tf.cast(noise_index, tf.int64)
    base = tf.reduce_max(label_map) + 1
    symbols, condition_map = _unique(noise_index * base + label_map)
    hidden_map, columns, lines = _surroundings(condition_map, tf.size(symbols, tf.int64))
    conditions = tf.reshape(tf.gather(lines, columns), (-1, 9))
    index, columns, lines = _surroundings(hidden_map, tf.shape(columns, tf.int64)[0])
    parts = (index, columns, lines, conditions, symbols % base, symbols // base)
    return Patterns(*(tf.cast(part, tf.int32) for part in parts))


def _unique(keys):
    """Distinct values and, in the shape of ``keys``, the position of each among them; int64."""
    import tensorflow as tf

    values, index = tf.unique(tf.reshape(keys, (-1,)), tf.int64)
    return values, tf.reshape(index, tf.shape(keys))


def _surroundings(kinds, count):
    """Renumbers 3x3 windows: int64 [B, H, W] of 0..count-1 to (the same of 0..P-1, [P, 3], [R, 3]).

    The tables hold the three lines of a window and the three kinds of a line.
    """
    import tensorflow as tf

    in_line, lines = _triples(kinds, count, axis=2)
    windows, columns = _triples(in_line, tf.shape(lines, tf.int64)[0], axis=1)
    # The line outside the image consists of pixels outside the image.
    return windows, columns, tf.concat([lines, tf.fill((1, 3), count)], axis=0)


def _triples(kinds, count, axis):
    """Renumbers (before, at, after) along an axis; ``count`` stands for outside the image."""
    import tensorflow as tf

    paddings = [(1, 1) if dimension == axis else (0, 0) for dimension in range(3)]
    padded = tf.pad(kinds, paddings, constant_values=count)
    size, base = tf.shape(kinds)[axis], count + 1
    before, at, after = (tf.gather(padded, tf.range(i, size + i), axis=axis) for i in range(3))

    def at_once():
        values, index = _unique((before * base + at) * base + after)
        return index, values // base**2, values // base % base, values % base

    def pairs_first():
        pairs, pair = _unique(before * base + at)
        values, index = _unique(pair * base + after)
        pairs = tf.gather(pairs, values // base)
        return index, pairs // base, pairs % base, values % base

    index, *triple = tf.cond(base < _MOST_KINDS, at_once, pairs_first)
    return index, tf.stack(triple, axis=1)


def hidden_table(kernels, biases, noise_channels, patterns, vectors):
    """Convolutions of the condition for every 3x3 surroundings, in the dtype of the kernels.

    Args:
        kernels: list of float [3, 3, Z + N, F_i], noise channels first; biases: list of [F_i].
            Each is looked up apart, so that nothing of the size of N is concatenated.
        noise_channels: int Z.
        patterns: ``Patterns``.
        vectors: float [K, Z], the noise vectors, or None if Z = 0.

    Returns:
        float [Q, F], F the sum of the F_i.
    """
    taps = [_taps(kernel, noise_channels, patterns, vectors) for kernel in kernels]
    # The last row is the condition outside the image.
    taps = ops.pad(ops.concatenate(taps, axis=-1), ((0, 0), (0, 1), (0, 0)))
    total = ops.concatenate([ops.convert_to_tensor(bias) for bias in biases], axis=0)
    for position, table in enumerate(ops.unstack(taps, 9)):
        total = total + lookup(table, patterns.conditions[:, position])
    return total


def _taps(kernel, noise_channels, patterns, vectors):
    """What a condition adds at each of the nine positions of a kernel: [9, S, F_i]."""
    kernel = ops.reshape(kernel, (9, -1, kernel.shape[-1]))
    if noise_channels == 0:
        return ops.take(kernel, patterns.labels, axis=1)
    noise_kernel, label_kernel = ops.split(kernel, [noise_channels], axis=1)
    vectors = lookup(ops.cast(vectors, kernel.dtype), patterns.noises)
    return ops.take(label_kernel, patterns.labels, axis=1) + ops.matmul(vectors, noise_kernel)


def modulation_table(hidden, patterns, kernel):
    """3x3 convolution of ``relu(hidden)`` for every 5x5 surroundings.

    Args:
        hidden: float [Q, F]; patterns: ``Patterns``; kernel: float [3, 3, F, C].

    Returns:
        float [P, C] in the dtype of ``kernel``.
    """
    # The last row is what lies outside the image.
    hidden = ops.cast(ops.pad(ops.relu(hidden), ((0, 1), (0, 0))), kernel.dtype)
    taps = ops.unstack(ops.reshape(kernel, (9, *kernel.shape[2:])), 9)

    def added(tables, numbers):
        """Sum over the places of a window: row ``numbers[:, place]`` of ``tables[place]``."""
        return functools.reduce(
            operator.add, (lookup(table, numbers[:, place]) for place, table in enumerate(tables))
        )

    products = [ops.matmul(hidden, tap) for tap in taps]
    lines = [added(products[first : first + 3], patterns.lines) for first in (0, 3, 6)]
    return added(lines, patterns.columns)

"""SPADE modulation, computed once per distinct neighbourhood instead of once per pixel.

A SPADE norm depends only on labels and noise. Call the pair (label, noise vector) of a pixel its
*condition*. ``hidden = relu(conv3x3(condition))`` depends on the 3x3 conditions around a pixel;
``gamma, beta = conv3x3(hidden)`` depends on the 3x3 hidden values, and so on 5x5 conditions. Pixels
with equal neighbourhoods therefore get equal results. With one noise vector per image, few
neighbourhoods are distinct: in street scenes of 256x256 about 3 % of the 3x3 and 9 % of the 5x5
ones. Both convolutions are computed for the distinct neighbourhoods only, as matrix products, and
every pixel looks up its result. The gradient of a row is the sum over the pixels that looked it up:
the same sum as in a convolution, in another order.

A convolution is a sum of nine products of a neighbour and a tap. A product does not depend on the
window that it is part of, so it is computed once per distinct neighbour. Windows also share lines
of three neighbours: each distinct line is summed once, and each window is a sum of three lines.

Neighbourhoods are compared exactly, without hashing. A triple of numbers below M is encoded as one
number below M^3, and ``unique`` renumbers after every triple so that M stays small. Pixels outside
the image have a condition of their own, which contributes nothing (zero padding).

TensorFlow only, and not for XLA: the number of rows is known only at run time. JAX does not allow
this, and XLA allocates as many rows as there are pixels.
"""

import functools
import operator
from typing import Any, NamedTuple

from keras import ops

from oasis_tf.layers.lookup import lookup

# Below this base a triple of numbers fits into int64. In larger bases, pairs are renumbered first.
_TRIPLE_LIMIT = 2**21


class Patterns(NamedTuple):
    """The distinct neighbourhoods of a batch of label maps, all int32.

    Attributes:
        index: [B, H, W], number 0..P-1 of every pixel's 5x5 neighbourhood.
        columns: [P, 3], numbers 0..R-1 of the lines above, at and below its centre.
        lines: [R, 3], numbers 0..Q-1 of the 3x3 neighbourhoods left of, at and right of the centre
            of a line. Q is outside the image.
        conditions: [Q, 9], numbers 0..S-1 of the conditions in a 3x3 neighbourhood. S is outside
            the image.
        labels: [S], label of every condition.
        noises: [S], number of the noise vector of every condition.
    """

    index: Any
    columns: Any
    lines: Any
    conditions: Any
    labels: Any
    noises: Any

    @property
    def neighbours(self):
        """[P, 9], numbers 0..Q-1 of the 3x3 neighbourhoods at and around the centre; Q: outside."""
        return ops.reshape(ops.take(self.lines, self.columns, axis=0), (-1, 9))


def find_patterns(label_map, noise_index):
    """Finds the distinct neighbourhoods of a batch.

    Args:
        label_map: int [B, H, W].
        noise_index: int [B, H, W] or broadcastable to it, number of every pixel's noise vector.

    Returns:
        ``Patterns``.
    """
    import tensorflow as tf

    label_map = tf.cast(label_map, tf.int64)
    noise_index = tf.cast(noise_index, tf.int64)
    base = tf.reduce_max(label_map) + 1
    symbols, condition_map = _unique(noise_index * base + label_map)
    hidden_map, columns, lines = _windows(condition_map, tf.size(symbols, tf.int64))
    conditions = tf.reshape(tf.gather(lines, columns), (-1, 9))
    index, columns, lines = _windows(hidden_map, tf.shape(columns, tf.int64)[0])
    parts = (index, columns, lines, conditions, symbols % base, symbols // base)
    return Patterns(*(tf.cast(part, tf.int32) for part in parts))


def _unique(keys):
    """Distinct values, and the position of every key among them in the shape of ``keys``; int64."""
    import tensorflow as tf

    values, index = tf.unique(tf.reshape(keys, (-1,)), tf.int64)
    return values, tf.reshape(index, tf.shape(keys))


def _windows(numbers, count):
    """Numbers the distinct 3x3 windows of a map of ``numbers``, int64 [B, H, W] in 0..count-1.

    Returns:
        (map of windows [B, H, W], lines of every window [P, 3], numbers of every line [R, 3]).
    """
    import tensorflow as tf

    line_map, lines = _triples(numbers, count, axis=2)
    window_map, columns = _triples(line_map, tf.shape(lines, tf.int64)[0], axis=1)
    # The line outside the image consists of pixels outside the image.
    return window_map, columns, tf.concat([lines, tf.fill((1, 3), count)], axis=0)


def _triples(numbers, count, axis):
    """Numbers the distinct triples (before, at, after) along an axis; ``count`` is outside.

    Returns:
        (map of triples [B, H, W], numbers of every triple [T, 3]).
    """
    import tensorflow as tf

    paddings = [(1, 1) if dimension == axis else (0, 0) for dimension in range(3)]
    padded = tf.pad(numbers, paddings, constant_values=count)
    size, base = tf.shape(numbers)[axis], count + 1
    before, at, after = (tf.gather(padded, tf.range(i, size + i), axis=axis) for i in range(3))

    def at_once():
        values, index = _unique((before * base + at) * base + after)
        return index, values // base**2, values // base % base, values % base

    def pairs_first():
        pairs, pair = _unique(before * base + at)
        values, index = _unique(pair * base + after)
        pairs = tf.gather(pairs, values // base)
        return index, pairs // base, pairs % base, values % base

    index, *triple = tf.cond(base < _TRIPLE_LIMIT, at_once, pairs_first)
    return index, tf.stack(triple, axis=1)


def hidden_table(kernels, biases, noise_channels, patterns, vectors):
    """Convolutions of the conditions for every 3x3 neighbourhood, in the dtype of the kernels.

    Args:
        kernels: list of float [3, 3, Z + N, F_i], noise channels first; biases: list of [F_i].
            Kernels are looked up one by one, so that no tensor that grows with N is concatenated.
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
    """Product of every condition with each of the nine taps of a kernel: [9, S, F_i]."""
    kernel = ops.reshape(kernel, (9, -1, kernel.shape[-1]))
    if noise_channels == 0:
        return ops.take(kernel, patterns.labels, axis=1)
    noise_kernel, label_kernel = ops.split(kernel, [noise_channels], axis=1)
    vectors = lookup(ops.cast(vectors, kernel.dtype), patterns.noises)
    return ops.take(label_kernel, patterns.labels, axis=1) + ops.matmul(vectors, noise_kernel)


def modulation_table(hidden, patterns, kernel):
    """3x3 convolution of ``relu(hidden)`` for every 5x5 neighbourhood.

    Args:
        hidden: float [Q, F]; patterns: ``Patterns``; kernel: float [3, 3, F, C].

    Returns:
        float [P, C] in the dtype of ``kernel``.
    """
    # The last row stands for pixels outside the image.
    hidden = ops.cast(ops.pad(ops.relu(hidden), ((0, 1), (0, 0))), kernel.dtype)
    taps = ops.unstack(ops.reshape(kernel, (9, *kernel.shape[2:])), 9)

    def sum_rows(tables, numbers):
        """Sum over all positions k of row ``numbers[:, k]`` of ``tables[k]``."""
        rows = (lookup(table, numbers[:, position]) for position, table in enumerate(tables))
        return functools.reduce(operator.add, rows)

    products = [ops.matmul(hidden, tap) for tap in taps]
    lines = [sum_rows(products[first : first + 3], patterns.lines) for first in (0, 3, 6)]
    return sum_rows(lines, patterns.columns)

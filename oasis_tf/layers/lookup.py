"""Look-ups of table rows, with a gradient that is summed in single precision."""

import keras
from keras import ops


def lookup(table, index):
    """``table[index]``: float [R, C] and int [...] to [..., C], in the dtype of the table.

    The gradient of a row is a sum over all its look-ups, often thousands of pixels. In half
    precision this sum would stop growing after a few hundred terms; it is taken in float32 or more.
    """
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_lookup(table, index)
    rows = ops.take(ops.cast(table, _sum_dtype(table)), index, axis=0)
    return ops.cast(rows, table.dtype)


def _sum_dtype(table):
    dtype = keras.backend.standardize_dtype(table.dtype)
    return dtype if dtype in ("float32", "float64") else "float32"


def _tensorflow_lookup(table, index):
    import tensorflow as tf

    @tf.custom_gradient
    def rows(table):
        def gradient(upstream):
            return _summed_rows(upstream, index, table)

        return tf.gather(table, index), gradient

    return rows(table)


def scale_and_shift(x, scale, shift, index):
    """``x * scale[index] + shift[index]``. TensorFlow only.

    Args:
        x: float [B, H, W, C].
        scale, shift: float [R, C], tables in the dtype of ``x``.
        index: int [B, H, W].

    For the gradient, ``x`` and the tables are kept and the scales are looked up again: a map of
    scales would be as large as ``x``.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def apply(x, scale, shift):
        def gradient(upstream):
            return (
                upstream * tf.gather(scale, index),
                _summed_rows(upstream * x, index, scale),
                _summed_rows(upstream, index, shift),
            )

        return x * tf.gather(scale, index) + tf.gather(shift, index), gradient

    return apply(x, scale, shift)


def _summed_rows(upstream, index, table):
    """For every row of ``table``, the sum of ``upstream`` [..., C] where ``index`` is that row."""
    import tensorflow as tf

    upstream = tf.reshape(tf.cast(upstream, _sum_dtype(table)), (-1, table.shape[-1]))
    total = tf.math.unsorted_segment_sum(upstream, tf.reshape(index, (-1,)), tf.shape(table)[0])
    return tf.cast(total, table.dtype)

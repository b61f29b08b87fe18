"""Assertions inside a graph: which rule was broken, and what was received.

Functions give checks. `checked` gives tensors that are computed only once their checks have passed.
"""

import tensorflow as tf


def check_pixels(height, width, max_pixels):
    """Raises ValueError, before there is a graph, if a model's images have too many pixels."""
    if height * width > max_pixels:
        raise ValueError(
            f"`max_pixels` must be at least the size of the model's images. Received: {max_pixels} "
            f"for {height}x{width}."
        )


def require(holds, message, *received):
    """An assertion with a message, in which `{}` stand for the received tensors."""
    return tf.debugging.Assert(holds, [tf.strings.format(message, received)])


def checked(checks, *tensors):
    """The tensors, computed only once all checks have passed; a single one is returned alone."""
    with tf.control_dependencies(list(checks)):
        results = [tf.identity(tensor) for tensor in tensors]
    return results[0] if len(results) == 1 else results


def same_batch(**tensors):
    """Checks that inputs, named by their keywords, have one batch size."""
    (first, tensor), *others = tensors.items()
    for name, other in others:
        counts = tf.shape(tensor)[0], tf.shape(other)[0]
        yield require(
            tf.equal(*counts),
            f"`{first}` and `{name}` must have the same batch size. Received: {{}} and {{}}.",
            *counts,
        )


def sides(name, shape, multiple, max_pixels):
    """Checks height and width; `shape`: int32 [B, H, W, ...]."""
    height, width = shape[1], shape[2]
    received = "Received: height {}, width {}."
    yield require(
        tf.reduce_all((shape[1:3] % multiple == 0) & (shape[1:3] > 0)),
        f"Height and width of `{name}` must be positive multiples of {multiple}. {received}",
        *(height, width),
    )
    yield require(
        few_pixels(height, width, max_pixels),
        f"`{name}` may have {max_pixels} pixels at most. {received} Make it smaller.",
        *(height, width),
    )


def few_pixels(height, width, max_pixels):
    """Whether sizes of int32 have at most `max_pixels` pixels."""
    return tf.cast(height, tf.int64) * tf.cast(width, tf.int64) <= max_pixels


def same_size(name, tensor, other_name, other):
    """Checks that a map has the shape [B, H, W] of another one."""
    yield require(
        tf.reduce_all(tf.equal(tf.shape(tensor), tf.shape(other))),
        f"`{name}` must have the batch and size of `{other_name}`. Received: {{}} and {{}}.",
        *(tf.shape(tensor), tf.shape(other)),
    )


def in_range(name, values, count, what):
    """Checks that integers are in 0..count-1; `count` is an int or a tensor."""
    smallest, largest = tf.reduce_min(values), tf.reduce_max(values)
    count = tf.cast(count, values.dtype)
    yield require(
        tf.reduce_all((values >= 0) & (values < count)),
        f"`{name}` must hold {what} 0..{{}}. Received: values from {{}} to {{}}.",
        *(count - 1, smallest, largest),
    )


def within(name, values, low, high):
    """Checks that floats are in a closed range, which NaN is not."""
    yield require(
        tf.reduce_all((values >= low) & (values <= high)),
        f"`{name}` must be in [{low}, {high}]. Received: values from {{}} to {{}}.",
        *(tf.reduce_min(values), tf.reduce_max(values)),
    )


def at_most(name, count, most):
    """Checks that an input has few entries a row; `count`: int32 scalar."""
    yield require(
        count <= most,
        f"`{name}` may have {most} entries a row at most. Received: {{}}.",
        count,
    )


def finite(name, values, most):
    """Checks that floats are finite, and at most a number of either sign."""
    fits = tf.abs(values) <= most  # NaN does not
    yield require(
        tf.reduce_all(fits),
        f"`{name}` must be finite, and in [-{most:g}, {most:g}]. Received: {{}} values that are "
        "not.",
        tf.math.count_nonzero(~fits),
    )

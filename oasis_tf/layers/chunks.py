"""Work on one part of a tensor after the other, so that only one part's temporaries exist."""

import keras
from keras import ops


def fold(function, carry, parts, output_dtype=None):
    """``for part in zip(*parts): carry, output = function(carry, *part)``, strictly in order.

    Not differentiable: for the inside of gradients written by hand, and for what needs none.

    Args:
        function: takes the carry and a slice of each of ``parts``; returns the next carry, of the
            same shapes and dtypes, and an output tensor (None without ``output_dtype``).
        carry: a tensor or a tuple of tensors.
        parts: tensors with the same first axis, along which they are cut.
        output_dtype: dtype of the outputs; None: there are none.

    Returns:
        (the last carry, all outputs along a new first axis or None).
    """
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_fold(function, carry, parts, output_dtype)
    return ops.scan(lambda carry, part: function(carry, *part), carry, tuple(parts))


def _tensorflow_fold(function, carry, parts, output_dtype):
    import tensorflow as tf

    count = parts[0].shape[0] or tf.shape(parts[0])[0]
    outputs = () if output_dtype is None else (tf.TensorArray(output_dtype, size=count),)

    def step(index, carry, outputs):
        carry, output = function(carry, *(part[index] for part in parts))
        return index + 1, carry, tuple(array.write(index, output) for array in outputs)

    _, carry, outputs = tf.while_loop(
        lambda index, *_: index < count,
        step,
        (0, carry, outputs),
        parallel_iterations=1,  # of the usual ten, the temporaries would exist together
        maximum_iterations=count,
    )
    return carry, outputs[0].stack() if outputs else None

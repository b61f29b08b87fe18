"""A loop over the parts of a tensor, so that only one part's temporaries exist at a time."""

import keras
from keras import ops


def fold(function, carry, parts, output_dtype=None):
    """``for part in zip(*parts): carry, output = function(carry, *part)``, strictly in order.

    Not differentiable: for use inside hand-written gradients, or where no gradient is needed.

    Args:
        function: takes the carry and a slice of each of ``parts``. It returns the next carry, with
            the same shapes and dtypes, and an output tensor (None without ``output_dtype``).
        carry: a tensor or a tuple of tensors.
        parts: tensors with first axes of equal length, along which they are sliced.
        output_dtype: dtype of the outputs, or None if there are none.

    Returns:
        (last carry, outputs stacked along a new first axis or None).
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
        parallel_iterations=1,  # the default of 10 would keep the temporaries of ten parts
        maximum_iterations=count,
    )
    return carry, outputs[0].stack() if outputs else None

"""Chains of elementwise operations, compiled into one pass over memory."""

import functools

import keras

# Size of the largest tensor from which compiling pays off. Measured: a call of a compiled function
# costs about 0.1 ms, compilation 0.1 s per shape.
_SMALLEST_SIZE = 2**16


def fused(function):
    """``function`` of tensors or variables; compiled by XLA for large tensors of known shapes.

    The cost of an elementwise operation is reading and writing memory. The dozen operations of Adam
    take five times as long one by one as in one pass. On backends other than TensorFlow the
    compiler fuses by itself, and ``function`` is returned unchanged.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    compiled = tf.function(function, jit_compile=True, autograph=False)

    def tensor(value):
        return tf.convert_to_tensor(value.value if isinstance(value, keras.Variable) else value)

    @functools.wraps(function)
    def on_tensors(*args):
        tensors = list(map(tensor, args))
        large = any((t.shape.num_elements() or 0) >= _SMALLEST_SIZE for t in tensors)
        return (compiled if large else function)(*tensors)

    return on_tensors

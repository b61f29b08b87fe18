"""Chains of elementwise operations as one pass over memory."""

import functools

import keras

# Numbers in the largest tensor from which compiling, and calling what was compiled, pays: measured,
# some 0.1 ms a call; compilation takes 0.1 s a shape.
_SMALLEST_SIZE = 2**16


def fused(function):
    """``function`` of tensors or variables; of large ones of known shapes compiled by XLA.

    Run one by one, elementwise operations read and write memory once each, which is all they cost:
    Adam's dozen take five times as long as one pass. On other backends than TensorFlow the compiler
    does the same, and this is the function itself.
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

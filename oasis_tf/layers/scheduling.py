"""The order of independent operations, where it decides how much memory they need."""

import keras


def after(first, tensor):
    """``tensor``, available only after ``first`` is computed.

    On backends other than TensorFlow, and under XLA, the compiler orders operations itself.
    """
    if keras.backend.backend() != "tensorflow":
        return tensor
    import tensorflow as tf

    with tf.control_dependencies([first]):
        return tf.identity(tensor)

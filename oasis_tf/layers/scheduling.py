"""The order in which independent operations run, where it decides how much memory they take."""

import keras


def after(first, tensor):
    """``tensor``, available only once ``first`` is computed.

    On other backends than TensorFlow, and under XLA, the compiler orders operations itself.
    """
    if keras.backend.backend() != "tensorflow":
        return tensor
    import tensorflow as tf

    with tf.control_dependencies([first]):
        return tf.identity(tensor)

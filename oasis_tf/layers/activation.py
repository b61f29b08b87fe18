"""LeakyReLU with a gradient that keeps its output instead of its input."""

import keras
from keras import ops

from oasis_tf.layers.gradients import of_upstream

LEAKY_SLOPE = 0.2


def leaky_relu(x):
    """LeakyReLU with slope 0.2.

    The gradient needs only the signs of the input, and the output has the same signs. The next
    convolution keeps the output anyway, so the input need not be kept.
    """

    @ops.custom_gradient
    def activate(x):
        y = ops.leaky_relu(x, negative_slope=LEAKY_SLOPE)
        return y, of_upstream(lambda upstream: _gradient(upstream, y))

    return activate(x)


def _gradient(upstream, y):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=y, alpha=LEAKY_SLOPE)
    return ops.where(y > 0, upstream, upstream * LEAKY_SLOPE)

"""The activation of both networks."""

import keras
from keras import ops

from oasis_tf.layers.gradients import of_upstream

LEAKY_SLOPE = 0.2


def leaky_relu(x):
    """LeakyReLU with slope 0.2, as everywhere in OASIS.

    Its output has the signs of its input, and they are all that its gradient needs. The output is
    kept anyway, by the convolution behind it: so the input need not be.
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

"""Initial values: Xavier-normal kernels with a gain, unit vectors for the power iteration."""

import keras
from keras import ops

KERNEL_GAIN = 0.02


def xavier_normal(gain=KERNEL_GAIN):
    """Normal with standard deviation ``gain * sqrt(2 / (fan_in + fan_out))`` (Glorot 2010).

    Under spectral normalisation the gain cancels in the forward pass and only sets the effective
    step size. Elsewhere it makes gamma and beta start close to zero.
    """
    return keras.initializers.VarianceScaling(
        scale=gain**2, mode="fan_avg", distribution="untruncated_normal"
    )


@keras.saving.register_keras_serializable("oasis_tf")
class UnitVector(keras.initializers.RandomNormal):
    """A random direction: a normal vector divided by its Euclidean length."""

    def __call__(self, shape, dtype=None):
        vector = super().__call__(shape, dtype=dtype)
        return vector / ops.norm(vector)

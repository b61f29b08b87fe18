"""Instance normalisation without affine parameters (Ulyanov et al. 2016).

SPADE's encoder and PatchGAN use it.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable("oasis_tf")
class InstanceNorm(keras.layers.Layer):
    """Zero mean and unit variance per image and channel: [B, H, W, C] -> the same shape.

    It has no weights and no running averages, so training and inference are the same. The variance
    is the biased one. Moments are taken over height and width in the variable dtype (float32 under
    mixed precision); the output is in the compute dtype.

    Args:
        epsilon: float, default 1e-5, added to the variance.
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape=None):
        self.built = True

    def call(self, x):
        x = ops.cast(x, self.variable_dtype)
        x = x - ops.mean(x, axis=(1, 2), keepdims=True)
        variance = ops.mean(ops.square(x), axis=(1, 2), keepdims=True)
        return ops.cast(x * ops.rsqrt(variance + self.epsilon), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"epsilon": self.epsilon}

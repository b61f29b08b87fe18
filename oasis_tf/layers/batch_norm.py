"""Batch normalisation over all replicas; SPADE's has no affine parameters (Park et al. 2019).

``keras.layers.BatchNormalization`` is not used, because the running variance must be the unbiased
one, as in PyTorch. At 2x2 and 4x4 resolutions the difference is visible.
"""

import keras
from keras import ops

from oasis_tf.layers.compiled_parts import part
from oasis_tf.layers.replicas import assign_same, moments_over_replicas, num_replicas


@keras.saving.register_keras_serializable("oasis_tf")
class BatchNorm(keras.layers.Layer):
    """Zero mean and unit variance per channel, over batch, height and width of the global batch.

    Args:
        momentum: float, default 0.9 (PyTorch's 0.1): weight of the old running average.
        epsilon: float, default 1e-5, added to the variance.

    ``call`` normalises and, in training, updates the running averages. ``affine`` returns scale and
    shift instead, for the caller to apply. Moments and running averages are computed in the
    variable dtype (float32 under mixed precision).
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        self.moving_mean = self._add_average("moving_mean", channels, "zeros")
        self.moving_variance = self._add_average("moving_variance", channels, "ones")
        self.built = True

    def _add_average(self, name, channels, initializer):
        # The moments are global: every replica holds the same values, so keep the first one's.
        return self.add_weight(
            name=name,
            shape=(channels,),
            initializer=initializer,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def moments(self, x, training):
        """Mean and biased variance, each [C]: of the global batch in training, else running."""
        if not training:
            return ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(
                self.moving_variance
            )
        x = ops.cast(x, self.variable_dtype)
        return moments_over_replicas(*part(lambda: self.own_moments(x)))

    def own_moments(self, x):
        """Mean and biased variance, each [C], of the values of this replica."""
        mean = ops.mean(x, axis=(0, 1, 2))
        return mean, ops.mean(ops.square(x - mean), axis=(0, 1, 2))

    def affine(self, x, training=False, repeats=1):
        """Normalisation of ``x`` as ``x * scale + shift``: both [C], in the variable dtype.

        In training it also updates the running averages, with ``repeats`` as in ``update``.
        """
        moments = self.moments(x, training)
        if training:
            self.update(moments, x, repeats)
        mean, variance = moments
        scale = ops.rsqrt(variance + self.epsilon)
        return scale, -mean * scale

    def update(self, moments, x, repeats=1):
        """Moves the running averages towards the ``moments`` of ``x`` [B, H, W, C].

        ``repeats``: how often every value of ``x`` occurs in the tensor that is normalised.
        Nearest-neighbour upsampling does not change the moments, so they are computed before it.
        Only the unbiased variance depends on the count.
        """
        mean, variance = (ops.stop_gradient(m) for m in moments)
        shape = ops.shape(x)
        count = repeats * shape[0] * shape[1] * shape[2]
        count = ops.cast(count, self.variable_dtype) * num_replicas()
        # Bessel's correction. A single value has no unbiased variance: keep the biased one.
        unbiased = variance * count / ops.maximum(count - 1, 1)
        keep = self.momentum
        assign_same(self.moving_mean, keep * self.moving_mean + (1 - keep) * mean)
        assign_same(self.moving_variance, keep * self.moving_variance + (1 - keep) * unbiased)

    def call(self, x, training=False):
        scale, shift = self.affine(x, training)
        return ops.cast(ops.cast(x, self.variable_dtype) * scale + shift, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"momentum": self.momentum, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("oasis_tf")
class AffineBatchNorm(BatchNorm):
    """``BatchNorm`` with a learned scale and shift for every channel, 1 and 0 at the start."""

    def build(self, input_shape):
        super().build(input_shape)
        shape = (input_shape[-1],)
        common = {"shape": shape, "autocast": False}
        self.gamma = self.add_weight(name="gamma", initializer="ones", **common)
        self.beta = self.add_weight(name="beta", initializer="zeros", **common)

    def affine(self, x, training=False, repeats=1):
        scale, shift = super().affine(x, training, repeats)
        return scale * self.gamma, shift * self.gamma + self.beta

"""Convolutions and normalisation of both networks, and their initial values."""

import functools
import math

import keras
from keras import ops

from oasis_tf.layers.activation import leaky_relu
from oasis_tf.layers.batch_norm import AffineBatchNorm
from oasis_tf.layers.spectral_norm import SpectralConv2D
from oasis_tf.training.named_weights import named_weights

KERNEL_DEVIATION = 0.02


@keras.saving.register_keras_serializable("oasis_tf.one_shot")
class OneShotConv2D(SpectralConv2D):
    """``SpectralConv2D`` whose kernel is a constant if it has a single entry.

    Such a kernel, divided by its norm, is its sign, and has no gradient. Adam would make steps of
    the rounding error of that zero.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.kernel.trainable = math.prod(self.kernel.shape) > 1


class Block(keras.layers.Layer):
    """Parts that all residual blocks share: two convolutions, a skip, and norms before LReLUs.

    Args:
        in_channels, out_channels: ints; the inner width is the smaller of them.
        norm: "none" or "batch", before each activation.
    """

    def __init__(self, in_channels, out_channels, norm="none", **kwargs):
        super().__init__(**kwargs)
        self.in_channels, self.out_channels, self.norm = in_channels, out_channels, norm
        self.mid_channels = min(in_channels, out_channels)

    def make_parts(self, size, resamples=("none", "none"), skip=True, first_norm=True):
        """Makes the convolutions and norms.

        Args:
            size: int, side of the kernels.
            resamples: ``resample`` of the two convolutions.
            skip: bool, whether the skip has a convolution (1x1, without bias).
            first_norm: bool, whether there is an activation before the first convolution.
        """
        conv = functools.partial(OneShotConv2D, dtype=self.dtype_policy)
        self.conv_0 = conv(self.mid_channels, size, resample=resamples[0], name="conv_0")
        self.conv_1 = conv(self.out_channels, size, resample=resamples[1], name="conv_1")
        self.conv_s = conv(self.out_channels, 1, use_bias=False, name="conv_s") if skip else None
        norms = (first_norm, True) if self.norm == "batch" else (False, False)
        self.norms = [
            AffineBatchNorm(name=f"norm_{k}", dtype=self.dtype_policy) if present else None
            for k, present in enumerate(norms)
        ]

    def build(self, *_):
        outer = (None, None, None, self.in_channels)
        middle = (None, None, None, self.mid_channels)
        self.conv_0.build(outer)
        self.conv_1.build(middle)
        if self.conv_s is not None:
            self.conv_s.build(outer)
        for norm, shape in zip(self.norms, (outer, middle), strict=True):
            if norm is not None:
                norm.build(shape)
        self.built = True

    def activated(self, x, which, training):
        """``x`` after the norm before the first or second convolution, and LReLU."""
        norm = self.norms[which]
        return leaky_relu(x if norm is None else norm(x, training=training))

    def skip(self, x, training):
        """The skip without resampling."""
        return x if self.conv_s is None else self.conv_s(x, training=training)

    def get_config(self):
        return super().get_config() | {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "norm": self.norm,
        }


def initialise(network, seed):
    """Gives a network its initial values.

    Kernels are normal with deviation 0.02, and so are single ones; biases are uniform up to
    1 / sqrt(fan in). The learned first layer is uniform up to 1 / sqrt(its outputs), bias as well.
    u and v are random directions already.

    Args:
        network: ``Generator`` or ``Discriminator``.
        seed: int.
    """
    weights = named_weights(network)
    generator = keras.random.SeedGenerator(seed)
    for name, variable in weights.items():
        layer, _, leaf = name.rpartition("/")
        if leaf not in ("kernel", "bias"):
            continue
        kernel = weights[f"{layer}/kernel"].shape
        if layer == "first":
            bound = 1 / math.sqrt(math.prod(kernel[1:]))
            value = keras.random.uniform(variable.shape, -bound, bound, seed=generator)
        elif leaf == "kernel":
            value = keras.random.normal(variable.shape, 0.0, KERNEL_DEVIATION, seed=generator)
        else:
            bound = 1 / math.sqrt(math.prod(kernel[:-1]))
            value = keras.random.uniform(variable.shape, -bound, bound, seed=generator)
        variable.assign(ops.cast(value, variable.dtype))

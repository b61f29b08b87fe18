"""SPADE modulation and the SPADE residual block (Park et al. 2019; ICLR 2021, table M)."""

import keras
from keras import ops

from oasis_tf.layers.batch_norm import BatchNorm
from oasis_tf.layers.initializers import xavier_normal
from oasis_tf.layers.label_conv import LabelConv2D, shared_label_conv
from oasis_tf.layers.scheduling import after
from oasis_tf.layers.spectral_norm import SpectralConv2D

LEAKY_SLOPE = 0.2


def leaky_relu(x):
    """LeakyReLU with slope 0.2, as everywhere in OASIS."""
    return ops.leaky_relu(x, negative_slope=LEAKY_SLOPE)


@keras.saving.register_keras_serializable("oasis_tf")
class SPADEModulation(keras.layers.Layer):
    """``normalised * (1 + gamma) + beta`` with gamma and beta painted from the label map and noise.

    ``h = relu(conv3x3(cond))``, ``gamma, beta = conv3x3(h)``; none is spectrally normalised.

    Args:
        channels: int C, channels of the normalised input.
        num_classes, noise_channels: as in ``LabelConv2D``.
        hidden_channels: int, channels of ``h``, default 128.

    Call arguments:
        normalised: float [B, H, W, C], output of a parameter-free normalisation.
        label_map: int [B, H, W]; noise: float [B, Z] or [B, H, W, Z] or None.

    Returns:
        [B, H, W, C] in the compute dtype.
    """

    def __init__(self, channels, num_classes, noise_channels, hidden_channels=128, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.num_classes = num_classes
        self.noise_channels = noise_channels
        self.hidden_channels = hidden_channels
        self.shared = LabelConv2D(
            hidden_channels, num_classes, noise_channels, dtype=self.dtype_policy, name="shared"
        )

    def build(self, input_shape=None, *_):
        self.shared.build()
        shape = (3, 3, self.hidden_channels, self.channels)
        for name in ("gamma", "beta"):
            kernel = self.add_weight(
                name=f"{name}_kernel", shape=shape, initializer=xavier_normal(), autocast=False
            )
            bias = self.add_weight(
                name=f"{name}_bias", shape=shape[-1:], initializer="zeros", autocast=False
            )
            setattr(self, f"{name}_kernel", kernel)
            setattr(self, f"{name}_bias", bias)
        self.built = True

    def modulate(self, normalised, hidden):
        """Modulates with ``hidden`` [B, H, W, hidden_channels], the shared convolution's output."""
        # One convolution for gamma and beta: concatenated kernels on the same input.
        kernel = ops.concatenate([self.gamma_kernel, self.beta_kernel], axis=-1)
        bias = ops.concatenate([self.gamma_bias + 1.0, self.beta_bias], axis=-1)
        maps = ops.conv(
            ops.relu(hidden),
            ops.cast(kernel, self.compute_dtype),
            strides=1,
            padding="same",
            data_format="channels_last",
        )
        scale, shift = ops.split(maps + ops.cast(bias, self.compute_dtype), 2, axis=-1)
        return normalised * scale + shift

    def call(self, normalised, label_map, noise=None):
        return self.modulate(normalised, shared_label_conv([self.shared], label_map, noise)[0])

    def compute_output_shape(self, normalised_shape, label_map_shape, noise_shape=None):
        return normalised_shape

    def get_config(self):
        return super().get_config() | {
            "channels": self.channels,
            "num_classes": self.num_classes,
            "noise_channels": self.noise_channels,
            "hidden_channels": self.hidden_channels,
        }


@keras.saving.register_keras_serializable("oasis_tf")
class SPADEResBlock(keras.layers.Layer):
    """SPADE residual block: ``conv_1(lrelu(norm_1(conv_0(lrelu(norm_0(x)))))) + shortcut(x)``.

    The shortcut is ``x`` where the widths agree, else ``conv_s(norm_s(x))`` without activation.
    ``norm_0`` and ``norm_s`` normalise the same ``x``: they share one batch norm, and all norms of
    the block share one pass over the label map.

    Args:
        in_channels, out_channels: int; the middle width is the smaller of the two.
        num_classes, noise_channels, hidden_channels: as in ``SPADEModulation``.

    Call arguments:
        x: float [B, H, W, in_channels].
        label_map: int [B, H, W]; noise: float [B, Z] or [B, H, W, Z] or None.
        training: bool. True uses and records batch statistics and takes one power iteration.

    Returns:
        [B, H, W, out_channels] in the compute dtype.
    """

    def __init__(
        self, in_channels, out_channels, num_classes, noise_channels, hidden_channels=128, **kwargs
    ):
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.mid_channels = min(in_channels, out_channels)
        self.num_classes = num_classes
        self.noise_channels = noise_channels
        self.hidden_channels = hidden_channels
        self.learned_shortcut = in_channels != out_channels
        common = {"dtype": self.dtype_policy}
        modulation = (num_classes, noise_channels, hidden_channels)
        self.batch_norm_0 = BatchNorm(name="batch_norm_0", **common)
        self.norm_0 = SPADEModulation(in_channels, *modulation, name="norm_0", **common)
        self.conv_0 = SpectralConv2D(self.mid_channels, 3, name="conv_0", **common)
        self.batch_norm_1 = BatchNorm(name="batch_norm_1", **common)
        self.norm_1 = SPADEModulation(self.mid_channels, *modulation, name="norm_1", **common)
        self.conv_1 = SpectralConv2D(out_channels, 3, name="conv_1", **common)
        if self.learned_shortcut:
            self.norm_s = SPADEModulation(in_channels, *modulation, name="norm_s", **common)
            self.conv_s = SpectralConv2D(out_channels, 1, False, name="conv_s", **common)

    def build(self, input_shape=None, *_):
        outer, middle = (None, None, None, self.in_channels), (None, None, None, self.mid_channels)
        for layer, shape in [
            (self.batch_norm_0, outer),
            (self.norm_0, outer),
            (self.conv_0, outer),
            (self.batch_norm_1, middle),
            (self.norm_1, middle),
            (self.conv_1, middle),
        ]:
            layer.build(shape)
        if self.learned_shortcut:
            self.norm_s.build(outer)
            self.conv_s.build(outer)
        self.built = True

    def call(self, x, label_map, noise=None, training=False):
        modulations = [self.norm_0, self.norm_1]
        modulations += [self.norm_s] if self.learned_shortcut else []
        # Not before this block's turn: what follows needs the label map alone, and the hidden maps
        # of all blocks would lie in memory from the start.
        label_map = after(x, label_map)
        hidden = shared_label_conv([m.shared for m in modulations], label_map, noise)
        normalised = self.batch_norm_0(x, training=training)
        y = self.norm_0.modulate(normalised, hidden[0])
        y = self.conv_0(leaky_relu(y), training=training)
        y = self.norm_1.modulate(self.batch_norm_1(y, training=training), hidden[1])
        y = self.conv_1(leaky_relu(y), training=training)
        if not self.learned_shortcut:
            return x + y
        shortcut = self.norm_s.modulate(normalised, hidden[2])
        return y + self.conv_s(shortcut, training=training)

    def compute_output_shape(self, x_shape, label_map_shape, noise_shape=None):
        return (*x_shape[:-1], self.out_channels)

    def get_config(self):
        return super().get_config() | {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "num_classes": self.num_classes,
            "noise_channels": self.noise_channels,
            "hidden_channels": self.hidden_channels,
        }

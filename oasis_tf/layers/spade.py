"""SPADE modulation and the SPADE residual block (Park et al. 2019; ICLR 2021, table M)."""

import keras
from keras import ops

from oasis_tf.layers.activation import leaky_relu
from oasis_tf.layers.batch_norm import BatchNorm
from oasis_tf.layers.compiled_parts import part
from oasis_tf.layers.initializers import xavier_normal
from oasis_tf.layers.label_conv import LabelConv2D
from oasis_tf.layers.modulation import modulations
from oasis_tf.layers.resampling import upsample
from oasis_tf.layers.spectral_norm import SpectralConv2D


@keras.saving.register_keras_serializable("oasis_tf")
class SPADEModulation(keras.layers.Layer):
    """``normalised * (1 + gamma) + beta``, gamma and beta computed from the label map and noise.

    ``h = relu(conv3x3(condition))``, ``gamma, beta = conv3x3(h)``, without spectral norm.

    Args:
        channels: int C, number of channels of the normalised input.
        num_classes, noise_channels: as in ``LabelConv2D``.
        hidden_channels: int, number of channels of ``h``, default 128.
        one_hot: bool, as in ``LabelConv2D``.

    Call arguments:
        normalised: float [B, H, W, C], output of a parameter-free normalisation.
        label_map: int [B, H, W]; noise: float [B, Z] or [B, H, W, Z] or None.

    Returns:
        [B, H, W, C] in the compute dtype.
    """

    def __init__(
        self, channels, num_classes, noise_channels, hidden_channels=128, one_hot=False, **kwargs
    ):
        super().__init__(**kwargs)
        self.channels = channels
        self.num_classes = num_classes
        self.noise_channels = noise_channels
        self.hidden_channels = hidden_channels
        self.one_hot = one_hot
        self.shared = LabelConv2D(
            hidden_channels,
            num_classes,
            noise_channels,
            one_hot,
            dtype=self.dtype_policy,
            name="shared",
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

    def kernel_and_bias(self):
        """Scale (1 + gamma) and shift (beta) as one convolution: [3, 3, hidden, 2C] and [2C]."""
        kernel = ops.concatenate([self.gamma_kernel, self.beta_kernel], axis=-1)
        return kernel, ops.concatenate([self.gamma_bias + 1.0, self.beta_bias], axis=-1)

    def call(self, normalised, label_map, noise=None):
        (modulation,) = modulations([self], label_map, noise)
        return modulation(normalised)

    def compute_output_shape(self, normalised_shape, label_map_shape, noise_shape=None):
        return normalised_shape

    def get_config(self):
        return super().get_config() | {
            "channels": self.channels,
            "num_classes": self.num_classes,
            "noise_channels": self.noise_channels,
            "hidden_channels": self.hidden_channels,
            "one_hot": self.one_hot,
        }


@keras.saving.register_keras_serializable("oasis_tf")
class SPADEResBlock(keras.layers.Layer):
    """SPADE residual block: ``conv_1(lrelu(norm_1(conv_0(lrelu(norm_0(x)))))) + shortcut(x)``.

    The shortcut is ``x`` if the widths are equal, else ``conv_s(norm_s(x))`` without activation.
    ``norm_0`` and ``norm_s`` normalise the same ``x``, so they share one batch norm. All norms of
    the block share one pass over the label map.

    Args:
        in_channels, out_channels: int; the middle width is the smaller of the two.
        num_classes, noise_channels, hidden_channels: as in ``SPADEModulation``.
        upsample: bool, default False. True first upsamples ``x`` by 2, nearest neighbour.
        dense: bool, as in ``modulations``.
        one_hot: bool, as in ``LabelConv2D``; on TensorFlow only where each pixel is computed for
            itself.

    Call arguments:
        x: float [B, H, W, in_channels]; with ``upsample``, half the label map's height and width.
        label_map: int [B, H, W]; noise: float [B, Z] or [B, H, W, Z] or None.
        training: bool. True uses and records batch statistics and takes one power iteration.

    Returns:
        [B, H, W, out_channels] in the compute dtype.
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        num_classes,
        noise_channels,
        hidden_channels=128,
        upsample=False,
        dense=False,
        one_hot=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.mid_channels = min(in_channels, out_channels)
        self.num_classes = num_classes
        self.noise_channels = noise_channels
        self.hidden_channels = hidden_channels
        self.upsample = upsample
        self.dense = dense
        self.one_hot = one_hot
        self.learned_shortcut = in_channels != out_channels
        common = {"dtype": self.dtype_policy}
        modulation = (num_classes, noise_channels, hidden_channels, one_hot)
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
        norms = [self.norm_0, self.norm_1]
        norms += [self.norm_s] if self.learned_shortcut else []
        modulate_0, modulate_1, *modulate_s = modulations(norms, label_map, noise, self.dense)
        # Nearest-neighbour upsampling does not change the moments: compute them before it.
        affine = self.batch_norm_0.affine(x, training, repeats=4 if self.upsample else 1)

        def before_norm_1():
            shortcut = upsample(x) if self.upsample else x
            y = self.conv_0(leaky_relu(modulate_0(shortcut, affine)), training=training)
            if self.learned_shortcut:
                shortcut = self.conv_s(modulate_s[0](shortcut, affine), training=training)
            return y, shortcut

        used = [self.norm_s, self.conv_s] if self.learned_shortcut else []
        y, shortcut = part(before_norm_1, self.norm_0, self.conv_0, *used)
        affine_1 = self.batch_norm_1.affine(y, training)

        def after_norm_1():
            return shortcut + self.conv_1(leaky_relu(modulate_1(y, affine_1)), training=training)

        return part(after_norm_1, self.norm_1, self.conv_1)

    def compute_output_shape(self, x_shape, label_map_shape, noise_shape=None):
        return (*label_map_shape, self.out_channels)

    def get_config(self):
        return super().get_config() | {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "num_classes": self.num_classes,
            "noise_channels": self.noise_channels,
            "hidden_channels": self.hidden_channels,
            "upsample": self.upsample,
            "dense": self.dense,
            "one_hot": self.one_hot,
        }

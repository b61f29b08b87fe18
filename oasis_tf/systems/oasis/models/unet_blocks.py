"""Residual blocks of the OASIS discriminator, which halve or double the resolution."""

import keras

from oasis_tf.layers.activation import leaky_relu
from oasis_tf.layers.label_image_conv import SpectralLabelImageConv2D
from oasis_tf.layers.resampling import average_pool, upsample
from oasis_tf.layers.spectral_norm import SpectralConv2D


class _ResBlock(keras.layers.Layer):
    """Two 3x3 convolutions with a 1x1 shortcut (identity if the widths are equal)."""

    # ``resample`` of the two convolutions.
    resamples = ("none", "none")

    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        common = {"dtype": self.dtype_policy}
        first, second = self.resamples
        self.conv_0 = SpectralConv2D(out_channels, 3, resample=first, name="conv_0", **common)
        self.conv_1 = SpectralConv2D(out_channels, 3, resample=second, name="conv_1", **common)
        self.conv_s = None
        if in_channels != out_channels:
            self.conv_s = SpectralConv2D(out_channels, 1, name="conv_s", **common)

    def build(self, input_shape=None):
        outer = (None, None, None, self.in_channels)
        self.conv_0.build(outer)
        self.conv_1.build((None, None, None, self.out_channels))
        if self.conv_s is not None:
            self.conv_s.build(outer)
        self.built = True

    def shortcut(self, x, training):
        return x if self.conv_s is None else self.conv_s(x, training=training)

    def get_config(self):
        return super().get_config() | {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
        }


@keras.saving.register_keras_serializable("oasis_tf")
class DownBlock(_ResBlock):
    """``avgpool(conv_1(lrelu(conv_0(lrelu(x)))))`` plus the pooled shortcut; halves H and W.

    ``first=True`` leaves out the first LeakyReLU, because the input is an image. A 1x1 convolution
    commutes with average pooling, so the shortcut pools first, which is cheaper.
    """

    resamples = ("none", "average_pool")

    def __init__(self, in_channels, out_channels, first=False, **kwargs):
        super().__init__(in_channels, out_channels, **kwargs)
        self.first = first

    def call(self, x, training=False):
        y = self.conv_0(x if self.first else leaky_relu(x), training=training)
        y = self.conv_1(leaky_relu(y), training=training)
        return y + self.shortcut(average_pool(x), training)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        halves = [size if size is None else size // 2 for size in (height, width)]
        return (batch, *halves, self.out_channels)

    def get_config(self):
        return super().get_config() | {"first": self.first}


@keras.saving.register_keras_serializable("oasis_tf")
class UpBlock(_ResBlock):
    """``conv_1(lrelu(conv_0(up2(lrelu(x)))))`` plus the upsampled shortcut; doubles H and W.

    A 1x1 convolution commutes with nearest-neighbour upsampling, so the shortcut convolves first,
    which is cheaper.
    """

    resamples = ("upsample", "none")

    def call(self, x, training=False):
        y = self.conv_0(leaky_relu(x), training=training)
        y = self.conv_1(leaky_relu(y), training=training)
        return y + upsample(self.shortcut(x, training))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        doubles = [size if size is None else size * 2 for size in (height, width)]
        return (batch, *doubles, self.out_channels)


@keras.saving.register_keras_serializable("oasis_tf")
class LabelDownBlock(keras.layers.Layer):
    """First ``DownBlock`` of a network that takes ``concat(one-hot(label_map), image)``.

    Its shortcut is always a 1x1 convolution, so that no tensor with N channels is built.

    Call arguments:
        image: float [B, H, W, 3]; label_map: int [B, H, W], values in 0..N-1; training: bool.

    Returns:
        [B, H/2, W/2, out_channels].
    """

    def __init__(self, num_classes, out_channels, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.out_channels = out_channels
        common = {"num_classes": num_classes, "dtype": self.dtype_policy}
        self.conv_0 = SpectralLabelImageConv2D(out_channels, 3, name="conv_0", **common)
        self.conv_1 = SpectralConv2D(
            out_channels, 3, resample="average_pool", name="conv_1", dtype=self.dtype_policy
        )
        self.conv_s = SpectralLabelImageConv2D(
            out_channels, 1, resample="average_pool", name="conv_s", **common
        )

    def build(self, *_):
        self.conv_0.build()
        self.conv_1.build((None, None, None, self.out_channels))
        self.conv_s.build()
        self.built = True

    def call(self, image, label_map, training=False):
        y = self.conv_0(label_map, image, training=training)
        y = self.conv_1(leaky_relu(y), training=training)
        return y + self.conv_s(label_map, image, training=training)

    def compute_output_shape(self, image_shape, label_map_shape=None):
        return self.conv_1.compute_output_shape(image_shape)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "out_channels": self.out_channels,
        }

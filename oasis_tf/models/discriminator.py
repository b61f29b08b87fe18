"""The OASIS discriminator: a U-Net that segments into N classes plus "fake" (ICLR 2021, 3.1)."""

import keras
from keras import ops

from oasis_tf.layers.activation import leaky_relu
from oasis_tf.layers.initializers import xavier_normal
from oasis_tf.layers.remat import call_block
from oasis_tf.layers.resampling import average_pool, upsample
from oasis_tf.layers.spectral_norm import SpectralConv2D
from oasis_tf.models.shapes import check_divisible, check_rank

WIDTHS = (2, 2, 4, 4, 8, 8)


class _ResBlock(keras.layers.Layer):
    """Two 3x3 convolutions beside a 1x1 shortcut (identity where the widths agree)."""

    # What happens to the resolution in the two convolutions.
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

    ``first=True`` leaves out the leading LeakyReLU: the input is an image. A 1x1 convolution
    commutes with average pooling, so every block's shortcut pools first.
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

    A 1x1 convolution commutes with nearest upsampling: the shortcut is computed before it.
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
class Discriminator(keras.Model):
    """Image in, N + 1 logits per pixel out: channel 0 is "fake", channel k + 1 is label class k.

    Args:
        num_classes: int N >= 1, label classes, the unknown class included.
        channels: int, default 64, unit of ``widths``.
        widths: sequence of int, default (2, 2, 4, 4, 8, 8): channels behind every down block, in
            units of ``channels``; the up blocks mirror them.
        remat: bool, default False, as in ``Generator``.

    Call arguments:
        image: float [B, H, W, 3] in [-1, 1]; H and W divisible by 2**len(widths) = 64.
        training: bool. True takes a power iteration.

    Returns:
        logits [B, H, W, N + 1] in the variable dtype (float32 under mixed precision).

    Raises:
        ValueError: sizes that do not divide.
    """

    def __init__(self, num_classes, channels=64, widths=WIDTHS, remat=False, **kwargs):
        super().__init__(**kwargs)
        self.remat = remat
        self.num_classes = num_classes
        self.channels = channels
        self.widths = tuple(widths)
        common = {"dtype": self.dtype_policy}
        down = [channels * width for width in self.widths]
        self.down_blocks = [
            DownBlock(fan_in, fan_out, first=index == 0, name=f"down_{index}", **common)
            for index, (fan_in, fan_out) in enumerate(zip([3, *down[:-1]], down, strict=True))
        ]
        self.up_blocks = [
            UpBlock(fan_in, fan_out, name=f"up_{index}", **common)
            for index, (fan_in, fan_out) in enumerate(self._up_widths(down))
        ]
        self.to_logits = keras.layers.Conv2D(
            num_classes + 1, 1, kernel_initializer=xavier_normal(), name="to_logits", **common
        )
        self.build()

    def _up_widths(self, down):
        """(in, out) of every up block; all but the first also take an encoder's output."""
        outputs = [*down[-2::-1], self.channels]
        inputs = [down[-1], *(up + skip for up, skip in zip(outputs, down[-2::-1], strict=False))]
        return list(zip(inputs, outputs, strict=True))

    @property
    def size_multiple(self):
        """int: what height and width must be divisible by (64 with the default widths)."""
        return 2 ** len(self.widths)

    def build(self, input_shape=None):
        if self.built:
            return
        for block in (*self.down_blocks, *self.up_blocks):
            block.build()
        self.to_logits.build((None, None, None, self.channels))
        self.built = True

    def call(self, image, training=False):
        self.check_inputs(image)
        mode = {"training": training, "remat": self.remat}
        x, skips = image, []
        for block in self.down_blocks:
            x = call_block(block, x, **mode)
            skips.append(x)
        x = call_block(self.up_blocks[0], skips.pop(), **mode)
        for block in self.up_blocks[1:]:
            x = call_block(block, ops.concatenate([skips.pop(), x], axis=-1), **mode)
        return ops.cast(self.to_logits(x), self.variable_dtype)

    def check_inputs(self, image):
        """Raises ValueError: axes, channels or sizes that do not fit."""
        check_rank(image.shape, 4, "image")
        if image.shape[-1] != 3:
            raise ValueError(f"`image` must have 3 channels. Received: {tuple(image.shape)}.")
        check_divisible(*image.shape[1:3], self.size_multiple, "an image to discriminate")

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_classes + 1)

    def compute_output_spec(self, image, training=False):
        self.check_inputs(image)
        return keras.KerasTensor((*image.shape[:-1], self.num_classes + 1), self.variable_dtype)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "channels": self.channels,
            "widths": list(self.widths),
            "remat": self.remat,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)

"""The OASIS generator: SPADE residual blocks fed with 3D noise (ICLR 2021, 3.3, table M)."""

import keras
from keras import ops

from oasis_tf.layers.activation import leaky_relu
from oasis_tf.layers.initializers import xavier_normal
from oasis_tf.layers.label_conv import LabelConv2D, downsample
from oasis_tf.layers.remat import call_block
from oasis_tf.layers.spade import SPADEResBlock
from oasis_tf.models.shapes import check_divisible, check_rank

WIDTHS = (16, 16, 16, 8, 4, 2, 1)


@keras.saving.register_keras_serializable("oasis_tf")
class Generator(keras.Model):
    """Label map and 3D noise in, image out.

    The label map and the noise are brought to every resolution by nearest downsampling and modulate
    each of the ``len(widths) - 1`` blocks; between blocks the features are upsampled by 2.

    Args:
        num_classes: int N >= 1, label classes, the unknown class included.
        noise_channels: int Z >= 0, default 64; 0 builds the variant without 3D noise.
        channels: int, default 64, unit of ``widths``.
        spade_channels: int, default 128, hidden channels of every SPADE modulation.
        widths: sequence of int, default (16, 16, 16, 8, 4, 2, 1): channels in front of the first
            block and behind every block, in units of ``channels``.
        remat: bool, default False. True keeps no activations of a block in training but computes
            them again for the gradient: less memory, more time, the same numbers.

    Call arguments:
        label_map: int [B, H, W], values 0..N-1; H and W divisible by 2**(len(widths) - 2) = 32.
        noise: float [B, Z] (one vector per image) or [B, H, W, Z] (local), None if Z = 0.
        training: bool. True uses batch statistics, records them and takes a power iteration.

    Returns:
        image [B, H, W, 3] in [-1, 1], in the variable dtype (float32 under mixed precision).

    Raises:
        ValueError: sizes that do not divide, or noise that does not fit.
    """

    def __init__(
        self,
        num_classes,
        noise_channels=64,
        channels=64,
        spade_channels=128,
        widths=WIDTHS,
        remat=False,
        dense=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.remat = remat
        self.dense = dense
        self.num_classes = num_classes
        self.noise_channels = noise_channels
        self.channels = channels
        self.spade_channels = spade_channels
        self.widths = tuple(widths)
        common = {"dtype": self.dtype_policy}
        units = [channels * width for width in self.widths]
        self.stem = LabelConv2D(units[0], num_classes, noise_channels, name="stem", **common)
        self.blocks = [
            SPADEResBlock(
                fan_in,
                fan_out,
                num_classes,
                noise_channels,
                spade_channels,
                upsample=index > 0,
                dense=dense,
                name=f"block_{index}",
                **common,
            )
            for index, (fan_in, fan_out) in enumerate(zip(units[:-1], units[1:], strict=True))
        ]
        self.to_rgb = keras.layers.Conv2D(
            3, 3, padding="same", kernel_initializer=xavier_normal(), name="to_rgb", **common
        )
        self.build()

    @property
    def size_multiple(self):
        """int: what height and width must be divisible by (32 with the default widths)."""
        return 2 ** (len(self.blocks) - 1)

    def build(self, input_shape=None, *_):
        # Every width is known from the arguments: the network is whole before it sees an input, as
        # `fit` under tf.distribute and the copying of weights need it.
        if self.built:
            return
        self.stem.build()
        for block in self.blocks:
            block.build()
        self.to_rgb.build((None, None, None, self.channels * self.widths[-1]))
        self.built = True

    def call(self, label_map, noise=None, training=False):
        self.check_inputs(label_map, noise)
        factor = self.size_multiple
        x = self.stem(*self._condition(label_map, noise, factor))
        for index, block in enumerate(self.blocks):
            factor //= 2 if index else 1
            x = call_block(
                block,
                x,
                *self._condition(label_map, noise, factor),
                training=training,
                remat=self.remat,
            )
        image = ops.tanh(self.to_rgb(leaky_relu(x)))
        return ops.cast(image, self.variable_dtype)

    def _condition(self, label_map, noise, factor):
        if noise is not None and len(noise.shape) == 4:
            noise = downsample(noise, factor)
        label_map = downsample(label_map, factor)
        return (label_map,) if noise is None else (label_map, noise)

    def check_inputs(self, label_map, noise):
        """Raises ValueError: sizes that do not divide, or noise that does not fit."""
        check_rank(label_map.shape, 3, "label_map")
        check_divisible(*label_map.shape[1:], self.size_multiple, "a label map to generate from")
        if self.noise_channels == 0:
            if noise is not None:
                raise ValueError("`noise` must be None where noise_channels=0.")
            return
        if noise is None or len(noise.shape) not in (2, 4):
            raise ValueError(
                f"`noise` must be [B, {self.noise_channels}] or [B, H, W, {self.noise_channels}]. "
                f"Received: shape={None if noise is None else tuple(noise.shape)}."
            )
        wanted = (*label_map.shape, self.noise_channels)
        wanted = wanted if len(noise.shape) == 4 else (wanted[0], wanted[-1])
        for got, want in zip(noise.shape, wanted, strict=True):
            if None not in (got, want) and got != want:
                raise ValueError(
                    f"`noise` must fit the label map: {wanted}. Received: {tuple(noise.shape)}."
                )

    def compute_output_shape(self, label_map_shape, noise_shape=None):
        return (*label_map_shape, 3)

    def compute_output_spec(self, label_map, noise=None, training=False):
        self.check_inputs(label_map, noise)
        return keras.KerasTensor((*label_map.shape, 3), dtype=self.variable_dtype)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "noise_channels": self.noise_channels,
            "channels": self.channels,
            "spade_channels": self.spade_channels,
            "widths": list(self.widths),
            "remat": self.remat,
            "dense": self.dense,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)

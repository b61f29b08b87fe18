"""The generators of OASIS (ICLR 2021, 3.3, table M) and SPADE (Park et al. 2019).

Both consist of SPADE residual blocks, modulated by the label map and the noise, if there is any.
They differ in the number of blocks, in where features are upsampled, and in what gives the first
features: label map and 3D noise, or a latent vector.
"""

import keras
from keras import ops

from oasis_tf.layers import by_device
from oasis_tf.layers.activation import leaky_relu
from oasis_tf.layers.compiled_parts import part
from oasis_tf.layers.initializers import xavier_normal
from oasis_tf.layers.label_conv import LabelConv2D, downsample
from oasis_tf.layers.remat import call_block
from oasis_tf.layers.spade import SPADEResBlock
from oasis_tf.systems.oasis.model_settings import GENERATOR_WIDTHS
from oasis_tf.systems.oasis.models.named_classes import NamedClasses
from oasis_tf.systems.oasis.models.shapes import check_divisible, check_rank


def _checked_upsamples(upsamples, blocks):
    """One bool per block; by default True for all but the first."""
    upsamples = (False, *[True] * (blocks - 1)) if upsamples is None else upsamples
    if len(upsamples) != blocks:
        raise ValueError(
            f"`upsamples` must have one entry per block, {blocks} for these `widths`. "
            f"Received: {len(upsamples)}."
        )
    return tuple(map(bool, upsamples))


@keras.saving.register_keras_serializable("oasis_tf")
class Generator(NamedClasses, keras.Model):
    """An image from a label map, and 3D noise or a latent vector.

    Nearest downsampling brings the label map and the noise to every resolution, where they modulate
    each of the ``len(widths) - 1`` blocks.

    Args:
        num_classes: int N >= 1, label classes, the unknown class included.
        noise_channels: int Z >= 0, default 64; 0 builds the variant without 3D noise.
        channels: int, default 64, unit of ``widths``.
        spade_channels: int, default 128, hidden channels of every SPADE modulation.
        widths: sequence of int, default (16, 16, 16, 8, 4, 2, 1): channels before the first block
            and after every block, in units of ``channels``.
        upsamples: sequence of bool, one per block: whether its input is first upsampled by 2.
            Default: all but the first block's.
        latent_stem: bool, default False: the first features are a 3x3 convolution of label map and
            noise. True: they are a dense layer of a latent vector, as in SPADE with an encoder;
            ``noise_channels`` must be 0. A dense layer gives features of one size, so such a
            generator makes images of one size.
        latent_channels: int, size of the latent vector; > 0 with ``latent_stem``, else 0.
        start_size: (int h, int w), the size of the first features; only with ``latent_stem``.
            Images are h and w times ``size_multiple``.
        remat: bool, default False. True keeps no activations of a block in training and computes
            them again for the gradient: less memory, more time, the same numbers.
        dense: bool, as in ``modulations``, or None (default): by device, see ``by_device``.
        one_hot: bool, as in ``LabelConv2D``, or None (default): by device and classes. Other
            backends than TensorFlow always modulate densely, and look labels up by default.

    Call arguments:
        label_map: int [B, H, W], values 0..N-1; H and W divisible by ``size_multiple``.
        noise: float [B, Z] (one vector per image) or [B, H, W, Z] (local), None if Z = 0. With
            ``latent_stem`` the latent vectors, [B, latent_channels].
        training: bool. True uses batch statistics, records them and takes a power iteration.

    Returns:
        image [B, H, W, 3] in [-1, 1], in the variable dtype (float32 under mixed precision).

    Raises:
        ValueError: arguments that exclude each other, sizes that do not divide or do not fit a
            latent stem, or noise that does not fit.
    """

    def __init__(
        self,
        num_classes,
        noise_channels=64,
        channels=64,
        spade_channels=128,
        widths=GENERATOR_WIDTHS["oasis"],
        upsamples=None,
        latent_stem=False,
        latent_channels=0,
        start_size=None,
        remat=False,
        dense=None,
        one_hot=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.remat = remat
        self.dense = dense
        self.one_hot = one_hot
        dense = by_device.is_dense(dense)
        one_hot = by_device.is_one_hot(num_classes, dense, one_hot)
        self.num_classes = num_classes
        self.noise_channels = noise_channels
        self.channels = channels
        self.spade_channels = spade_channels
        self.widths = tuple(widths)
        self.upsamples = _checked_upsamples(upsamples, len(self.widths) - 1)
        self.latent_stem = latent_stem
        self.latent_channels = latent_channels
        self.start_size = None if start_size is None else tuple(start_size)
        self._check_latent_arguments()
        common = {"dtype": self.dtype_policy}
        units = [channels * width for width in self.widths]
        self.stem = self._make_stem(units[0], one_hot, common)
        self.blocks = [
            SPADEResBlock(
                fan_in,
                fan_out,
                num_classes,
                noise_channels,
                spade_channels,
                upsample=upsample,
                dense=dense,
                one_hot=one_hot,
                name=f"block_{index}",
                **common,
            )
            for index, (fan_in, fan_out, upsample) in enumerate(
                zip(units[:-1], units[1:], self.upsamples, strict=True)
            )
        ]
        self.to_rgb = keras.layers.Conv2D(
            3,
            3,
            padding="same",
            data_format="channels_last",
            kernel_initializer=xavier_normal(),
            name="to_rgb",
            **common,
        )
        self.build()

    def _check_latent_arguments(self):
        given = (self.latent_channels > 0, self.start_size is not None, self.noise_channels == 0)
        if self.latent_stem and not all(given):
            wanted = "needs `latent_channels` above 0, a `start_size` and noise_channels=0"
        elif not self.latent_stem and any(given[:2]):
            wanted = "of False takes neither `latent_channels` nor a `start_size`"
        else:
            return
        raise ValueError(
            f"`latent_stem` {wanted}. Received: latent_stem={self.latent_stem}, "
            f"latent_channels={self.latent_channels}, start_size={self.start_size}, "
            f"noise_channels={self.noise_channels}."
        )

    def _make_stem(self, filters, one_hot, common):
        if not self.latent_stem:
            return LabelConv2D(
                filters, self.num_classes, self.noise_channels, one_hot, name="stem", **common
            )
        height, width = self.start_size
        return keras.layers.Dense(
            height * width * filters, kernel_initializer=xavier_normal(), name="stem", **common
        )

    @property
    def vector_channels(self):
        """int: size of an image's noise vector, 3D noise or latent; 0 where there is neither."""
        return self.latent_channels or self.noise_channels

    @property
    def size_multiple(self):
        """int: what height and width must be divisible by (32 by default)."""
        return 2 ** sum(self.upsamples)

    def build(self, input_shape=None, *_):
        # All widths follow from the arguments, so the network is built before its first input:
        # `fit` under tf.distribute and copies of weights need that.
        if self.built:
            return
        self.stem.build((None, self.latent_channels) if self.latent_stem else None)
        for block in self.blocks:
            block.build()
        self.to_rgb.build((None, None, None, self.channels * self.widths[-1]))
        self.built = True

    def call(self, label_map, noise=None, training=False):
        self.check_inputs(label_map, noise)
        factor = self.size_multiple
        if self.latent_stem:
            x = part(lambda: self.stem(noise), self.stem)
            x = ops.reshape(x, (-1, *self.start_size, self.blocks[0].in_channels))
            noise = None
        else:
            condition = self._condition(label_map, noise, factor)
            x = part(lambda: self.stem(*condition), self.stem)
        for block in self.blocks:
            factor //= 2 if block.upsample else 1
            x = call_block(
                block,
                x,
                *self._condition(label_map, noise, factor),
                training=training,
                remat=self.remat,
            )
        image = part(lambda: ops.tanh(self.to_rgb(leaky_relu(x))), self.to_rgb)
        return ops.cast(image, self.variable_dtype)

    def _condition(self, label_map, noise, factor):
        if noise is not None and len(noise.shape) == 4:
            noise = downsample(noise, factor)
        label_map = downsample(label_map, factor)
        return (label_map,) if noise is None else (label_map, noise)

    def check_inputs(self, label_map, noise):
        """Raises ValueError if sizes do not divide or noise does not fit."""
        check_rank(label_map.shape, 3, "label_map")
        check_divisible(*label_map.shape[1:], self.size_multiple, "a label map to generate from")
        if self.latent_stem:
            self._check_size(label_map)
        channels = self.vector_channels
        if channels == 0:
            if noise is not None:
                raise ValueError("`noise` must be None where noise_channels=0.")
            return
        forms = {2: f"[B, {channels}]"}
        forms |= {} if self.latent_stem else {4: f"[B, H, W, {channels}]"}
        if noise is None or len(noise.shape) not in forms:
            raise ValueError(
                f"`noise` must be {' or '.join(forms.values())}. "
                f"Received: shape={None if noise is None else tuple(noise.shape)}."
            )
        wanted = (*label_map.shape, channels)
        wanted = wanted if len(noise.shape) == 4 else (wanted[0], wanted[-1])
        for got, want in zip(noise.shape, wanted, strict=True):
            if None not in (got, want) and got != want:
                raise ValueError(
                    f"`noise` must fit the label map: {wanted}. Received: {tuple(noise.shape)}."
                )

    def _check_size(self, label_map):
        """Raises ValueError unless a label map has the size of a latent stem."""
        wanted = [side * self.size_multiple for side in self.start_size]
        for got, want in zip(label_map.shape[1:], wanted, strict=True):
            if got is not None and got != want:
                raise ValueError(
                    "The first features of this generator are a dense layer of a latent vector, so "
                    f"label maps must be {wanted[0]}x{wanted[1]}, the size it was made for. "
                    f"Received: shape={tuple(label_map.shape)}."
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
            "upsamples": list(self.upsamples),
            "latent_stem": self.latent_stem,
            "latent_channels": self.latent_channels,
            "start_size": self.start_size and list(self.start_size),
            "remat": self.remat,
            "dense": self.dense,
            "one_hot": self.one_hot,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "name": self.name,
        }

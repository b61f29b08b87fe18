"""The residual discriminator, with the standard deviation over groups of the batch."""

import keras
from keras import ops

from oasis_tf.layers.replicas import all_rows
from oasis_tf.systems.few_shot.outputs import Judged
from oasis_tf.systems.few_shot.stylegan2.generator import resolutions
from oasis_tf.systems.few_shot.stylegan2.layers import EqualConv2D, EqualDense
from oasis_tf.systems.few_shot.stylegan2.operators import GAIN

_SMALLEST = 4


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class ResidualBlock(keras.layers.Layer):
    """Two convolutions plus a skip, divided by sqrt(2); halves the sides.

    Args:
        in_channels, out_channels: ints.
        clamp: as of ``Discriminator``.

    Call arguments: ``x`` [B, H, W, C].

    Returns:
        the outputs of the block, of its first, and of its second convolution. That of the second
        lacks its gain sqrt(2), which the division by sqrt(2) takes back.
    """

    def __init__(self, in_channels, out_channels, clamp=None, **kwargs):
        super().__init__(**kwargs | {"autocast": False})
        self.in_channels, self.out_channels, self.clamp = in_channels, out_channels, clamp
        common = {"dtype": self.dtype_policy}
        inner = None if clamp is None else clamp / GAIN
        self.conv1 = EqualConv2D(in_channels, 3, clamp=clamp, name="conv1", **common)
        self.conv2 = EqualConv2D(
            out_channels, 3, down=True, gain=1.0, clamp=inner, name="conv2", **common
        )
        self.skip = EqualConv2D(
            out_channels, 1, down=True, activate=False, gain=1 / GAIN, name="skip", **common
        )

    def build(self, *_):
        for layer in (self.conv1, self.conv2, self.skip):
            layer.build((None, None, None, self.in_channels))
        self.built = True

    def call(self, x):
        first = self.conv1(x)
        second = self.conv2(first)
        return second + self.skip(x), first, second

    def get_config(self):
        sizes = {"in_channels": self.in_channels, "out_channels": self.out_channels}
        return super().get_config() | sizes | {"clamp": self.clamp}


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class Discriminator(keras.Model):
    """StyleGAN2's discriminator (Karras et al. 2020, section 4, fig. 7c).

    Args:
        size: int, side of images, a power of 2 from 8 on.
        channels: dict from every resolution 4, 8, ..., ``size`` to its number of channels.
        group: int, default 4, images whose standard deviation is taken; fewer in a smaller batch.
        clamp: float, outputs of convolutions with activation are clamped to [-clamp, clamp];
            default None: they are not.

    Call arguments:
        image: float [B, size, size, 3] in [-1, 1]. The global batch must be divisible by the
            group.

    Returns:
        logits [B, 1].
    """

    def __init__(
        self, size, channels, group=4, clamp=None, name="discriminator", dtype=None, **kwargs
    ):
        super().__init__(name=name, dtype=dtype, **kwargs | {"autocast": False})
        self.size, self.channels = size, {int(k): v for k, v in channels.items()}
        self.group, self.clamp = group, clamp
        common = {"dtype": self.dtype_policy}
        widths = [self.channels[side] for side in resolutions(size)[::-1]]
        self.from_rgb = EqualConv2D(widths[0], 1, clamp=clamp, name="from_rgb", **common)
        self.blocks = [
            ResidualBlock(*widths[k : k + 2], clamp, name=f"block_{k + 1}", **common)
            for k in range(len(widths) - 1)
        ]
        self.final_conv = EqualConv2D(widths[-1], 3, clamp=clamp, name="final_conv", **common)
        self.hidden = EqualDense(widths[-1], True, name="hidden", dtype=self.variable_dtype)
        self.logit = EqualDense(1, name="logit", dtype=self.variable_dtype)
        self.build()

    def build(self, *_):
        if self.built:
            return
        self.from_rgb.build((None, None, None, 3))
        for block in self.blocks:
            block.build()
        width = self.channels[_SMALLEST]
        self.final_conv.build((None, None, None, width + 1))
        self.hidden.build((None, _SMALLEST**2 * width))
        self.logit.build((None, width))
        self.built = True

    def call(self, image):
        return self.judged(image).logits

    def judged(self, image, convs=(), until=None):
        """Logits and features.

        Args:
            image: as of ``call``.
            convs: keys of ``Judged.convs`` that are wanted, default none.
            until: int, the number of the last block; default None, all of them. With fewer blocks,
                ``hidden`` and ``logits`` are None.

        Returns:
            ``Judged``.
        """
        x = self.from_rgb(image)
        outputs, found = [], {}
        for number, block in enumerate(self.blocks[:until], start=1):
            x, first, second = block(x)
            outputs.append(x)
            if (number, "conv1") in convs:
                found[number, "conv1"] = first
            if (number, "conv2") in convs:
                found[number, "conv2"] = GAIN * second
        if until is not None:
            return Judged(outputs, found, None, None)
        hidden = self.hidden(self._flat(self.final_conv(self._with_deviation(x))))
        return Judged(outputs, found, hidden, self.logit(hidden))

    def _with_deviation(self, x):
        """``x`` with a last channel, the mean standard deviation in the image's group."""
        values = minibatch_deviation(ops.cast(x, self.variable_dtype), self.group)
        values = ops.cast(values, x.dtype)[:, None, None, None]
        values = ops.broadcast_to(values, (*ops.shape(x)[:-1], 1))
        return ops.concatenate([x, values], axis=-1)

    def _flat(self, x):
        return ops.reshape(x, (-1, self.hidden.kernel.shape[0]))

    def get_config(self):
        return super().get_config() | {
            "size": self.size,
            "channels": self.channels,
            "group": self.group,
            "clamp": self.clamp,
        }


def minibatch_deviation(x, group):
    """Mean standard deviation of features among the images of a group, of the global batch.

    With g = min(batch, group) images per group, image b is in group ``b mod (batch / g)``.

    Args:
        x: float [B, H, W, C], the rows of this replica.
        group: int.

    Returns:
        float [B].

    Raises:
        ValueError: the global batch cannot be divided into groups.
    """
    rows = all_rows(x)
    batch = rows.shape[0]
    group = min(batch, group)
    if batch % group:
        raise ValueError(
            "The batch must be divisible by the number of images whose deviation is taken. "
            f"Received: a batch of {batch}, groups of {group}."
        )
    grouped = ops.reshape(rows, (group, batch // group, *rows.shape[1:]))
    centred = grouped - ops.mean(grouped, axis=0, keepdims=True)
    deviation = ops.sqrt(ops.mean(ops.square(centred), axis=0) + 1e-8)
    values = ops.mean(deviation, axis=(1, 2, 3))
    values = ops.tile(values, (group,))
    if rows is x:
        return values
    from oasis_tf.randomness import own_rows  # several replicas: TensorFlow alone has them

    return own_rows(values, x.shape[0])

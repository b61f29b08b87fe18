"""BigGAN's discriminator: residual blocks, a sum over positions, and a projection on the class."""

import keras
from keras import ops

from oasis_tf.layers.resampling import average_pool
from oasis_tf.systems.few_shot import biggan_sizes as sizes
from oasis_tf.systems.few_shot.biggan.layers import (
    SN_EPSILON,
    BigGANAttention,
    BigGANConv2D,
    BigGANDense,
    BigGANEmbedding,
)
from oasis_tf.systems.few_shot.outputs import Judged
from oasis_tf.training.named_weights import named_weights


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class BigGANDiscriminatorBlock(keras.layers.Layer):
    """``conv_1(relu(conv_0(relu(x))))`` plus the skip ``conv_s(x)``, average-pooled if it halves.

    A 1x1 convolution commutes with average pooling, so the skip pools first, which is cheaper.
    There is no skip convolution if sides and channels stay.

    Args:
        in_channels, out_channels: ints; the inner width is ``out_channels``.
        halves: bool, whether the sides are halved.
        first: bool, default False. True leaves out the first ReLU.
        sn_eps: of its convolutions.
    """

    def __init__(self, in_channels, out_channels, halves, first=False, sn_eps=SN_EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.in_channels, self.out_channels, self.halves = in_channels, out_channels, halves
        self.first, self.sn_eps = first, sn_eps
        common = {"sn_eps": sn_eps, "dtype": self.dtype_policy}
        resample = "average_pool" if halves else "none"
        self.conv_0 = BigGANConv2D(out_channels, 3, name="conv_0", **common)
        self.conv_1 = BigGANConv2D(out_channels, 3, resample=resample, name="conv_1", **common)
        self.conv_s = None
        if halves or in_channels != out_channels:
            self.conv_s = BigGANConv2D(out_channels, 1, name="conv_s", **common)

    def build(self, *_):
        outer = (None, None, None, self.in_channels)
        self.conv_0.build(outer)
        self.conv_1.build((None, None, None, self.out_channels))
        if self.conv_s is not None:
            self.conv_s.build(outer)
        self.built = True

    def call(self, x, training=False):
        y = self.conv_0(x if self.first else ops.relu(x), training=training)
        y = self.conv_1(ops.relu(y), training=training)
        skip = average_pool(x) if self.halves else x
        return y + (skip if self.conv_s is None else self.conv_s(skip, training=training))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        factor = 2 if self.halves else 1
        return (batch, *(side and side // factor for side in (height, width)), self.out_channels)

    def get_config(self):
        return super().get_config() | {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "halves": self.halves,
            "first": self.first,
            "sn_eps": self.sn_eps,
        }


@keras.saving.register_keras_serializable("oasis_tf.few_shot", "BigGANDiscriminator")
class Discriminator(keras.Model):
    """Logits of images, on their class or on none.

    Args:
        resolution: int, 32, 64, 128 or 256.
        ch: int, width.
        num_classes: int, default 0: no projection, as in adaptation.
        attention: ints, sides after which there is attention; a side that two blocks give has two.
        sn_eps: float, default 1e-6; see ``BigGANConv2D``.

    Call arguments:
        image: float [B, resolution, resolution, 3].
        label: int [B]; None (default): logits without the projection.
        training: bool. True stores the power step of every layer that is used. Real and generated
            images in one call are one step.

    Returns:
        logits, float [B, 1], in the variable dtype.
    """

    def __init__(self, resolution, ch, num_classes=0, attention=(), sn_eps=SN_EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.resolution, self.ch, self.num_classes = resolution, ch, num_classes
        self.attention, self.sn_eps = tuple(attention), sn_eps
        self.block_sizes = sizes.discriminator_blocks(resolution, ch)
        common = {"sn_eps": sn_eps, "dtype": self.dtype_policy}
        self.blocks = [
            BigGANDiscriminatorBlock(*size[:3], first=k == 0, name=f"block_{k}", **common)
            for k, size in enumerate(self.block_sizes)
        ]
        self.attentions = [
            BigGANAttention(size.out_channels, name=f"attention_{k}", **common)
            if size.nominal_side in self.attention
            else None
            for k, size in enumerate(self.block_sizes)
        ]
        self.linear = BigGANDense(1, name="linear", **common)
        self.embed = None
        if num_classes:
            self.embed = BigGANEmbedding(num_classes, name="embed", **common)
        self.build()

    def build(self, *_):
        if self.built:
            return
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            block.build()
            if attention is not None:
                attention.build()
        last = (None, self.block_sizes[-1].out_channels)
        self.linear.build(last)
        if self.embed is not None:
            self.embed.build(last)
        self.built = True

    def call(self, image, label=None, training=False):
        return self.judged(image, label, training).logits

    def judged(self, image, label=None, training=False):
        """``Judged``, with the outputs of all blocks but the last; arguments as of ``call``."""
        features = self.features(image, training)
        last = ops.cast(features[-1], self.variable_dtype)
        hidden = ops.sum(ops.relu(last), axis=(1, 2))
        logits = ops.cast(self.linear(hidden, training=training), self.variable_dtype)
        if label is not None:
            logits = logits + self._projection(hidden, label, training)
        return Judged(features[:-1], {}, hidden, logits)

    def features(self, image, training=False):
        """Outputs of all blocks, attention included, in order."""
        x, features = ops.cast(image, self.compute_dtype), []
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            x = block(x, training=training)
            if attention is not None:
                x = attention(x, training=training)
            features.append(x)
        return features

    def _projection(self, hidden, label, training):
        if self.embed is None:
            raise ValueError(
                "This discriminator has no projection (num_classes=0). Call it without `label`."
            )
        embedded = ops.cast(self.embed(label, training=training), self.variable_dtype)
        return ops.sum(embedded * hidden, axis=1, keepdims=True)

    def get_config(self):
        return super().get_config() | {
            "resolution": self.resolution,
            "ch": self.ch,
            "num_classes": self.num_classes,
            "attention": self.attention,
            "sn_eps": self.sn_eps,
        }


def without_projection(discriminator):
    """A ``Discriminator`` of the same weights that sees no classes, for adaptation."""
    copy = Discriminator.from_config(discriminator.get_config() | {"num_classes": 0})
    weights = named_weights(discriminator)
    for name, variable in named_weights(copy).items():
        variable.assign(weights[name].value)
    return copy

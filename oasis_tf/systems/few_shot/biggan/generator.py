"""BigGAN's generator: a latent in parts, a class embedding, residual blocks (Brock et al. 2019)."""

import keras
from keras import ops

from oasis_tf.layers.resampling import upsample
from oasis_tf.systems.few_shot import biggan_sizes as sizes
from oasis_tf.systems.few_shot.biggan.layers import (
    BN_EPSILON,
    SN_EPSILON,
    BigGANAttention,
    BigGANBatchNorm,
    BigGANConv2D,
    BigGANDense,
    ConditionalBatchNorm,
    Embedding,
)
from oasis_tf.systems.few_shot.outputs import Made


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class BigGANGeneratorBlock(keras.layers.Layer):
    """``conv_1(relu(norm_1(conv_0(up(relu(norm_0(x)))))))`` plus ``conv_s(up(x))``.

    A 1x1 convolution commutes with nearest-neighbour upsampling, so the skip convolves first, which
    is cheaper.

    Args:
        in_channels, out_channels, condition_dim: ints.
        bn_eps, sn_eps, mybn: as of ``Generator``.

    Call arguments: ``x`` [B, H, W, in_channels], ``condition`` [B, condition_dim]. Returns:
    [B, 2H, 2W, out_channels].
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        condition_dim,
        bn_eps=BN_EPSILON,
        sn_eps=SN_EPSILON,
        mybn=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.condition_dim = condition_dim
        self.bn_eps, self.sn_eps, self.mybn = bn_eps, sn_eps, mybn
        common = {"sn_eps": sn_eps, "dtype": self.dtype_policy}
        self.conv_0 = BigGANConv2D(out_channels, 3, resample="upsample", name="conv_0", **common)
        self.conv_1 = BigGANConv2D(out_channels, 3, name="conv_1", **common)
        self.conv_s = BigGANConv2D(out_channels, 1, name="conv_s", **common)
        common |= {"epsilon": bn_eps, "mybn": mybn}
        self.norm_0 = ConditionalBatchNorm(name="norm_0", **common)
        self.norm_1 = ConditionalBatchNorm(name="norm_1", **common)

    def build(self, *_):
        outer = (None, None, None, self.in_channels)
        inner = (None, None, None, self.out_channels)
        for layer, shape in ((self.conv_0, outer), (self.conv_1, inner), (self.conv_s, outer)):
            layer.build(shape)
        self.norm_0.build(outer, (None, self.condition_dim))
        self.norm_1.build(inner, (None, self.condition_dim))
        self.built = True

    def call(self, x, condition, training=False):
        y = ops.relu(self.norm_0(x, condition, training=training))
        y = self.conv_0(y, training=training)
        y = ops.relu(self.norm_1(y, condition, training=training))
        y = self.conv_1(y, training=training)
        return y + upsample(self.conv_s(x, training=training))

    def compute_output_shape(self, input_shape, condition_shape):
        batch, height, width, _ = input_shape
        return (batch, *(side and 2 * side for side in (height, width)), self.out_channels)

    def get_config(self):
        return super().get_config() | {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "condition_dim": self.condition_dim,
            "bn_eps": self.bn_eps,
            "sn_eps": self.sn_eps,
            "mybn": self.mybn,
        }


@keras.saving.register_keras_serializable("oasis_tf.few_shot", "BigGANGenerator")
class Generator(keras.Model):
    """Images from latents and class embeddings.

    Args:
        resolution: int, 32, 64, 128 or 256.
        ch: int, width.
        num_classes: int.
        dim_z: int. What does not divide into equal parts for first layer and blocks is left out.
        shared_dim: int, default 128, length of a class embedding.
        attention: ints, sides after which there is attention.
        bn_eps: float, default 1e-5, of the conditional batch norms. The last one has 1e-5 always,
            as in the published code.
        sn_eps: float, default 1e-6; see ``BigGANConv2D``.
        mybn: bool, default False; see ``_Statistics``.

    Call arguments:
        z: float [B, dim_z].
        e: float [B, shared_dim], such as ``embedding(label)``.
        training: bool. True uses the statistics of the global batch, updates the running ones, and
            stores the power step of every layer.

    Returns:
        image, float [B, resolution, resolution, 3] in [-1, 1], in the variable dtype.
    """

    def __init__(
        self,
        resolution,
        ch,
        num_classes,
        dim_z,
        shared_dim=128,
        attention=(),
        bn_eps=BN_EPSILON,
        sn_eps=SN_EPSILON,
        mybn=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.resolution, self.ch, self.num_classes = resolution, ch, num_classes
        self.chunk = sizes.latent_chunk(resolution, dim_z)
        self.dim_z, self.shared_dim = sizes.used_dim_z(resolution, dim_z), shared_dim
        self.attention, self.bn_eps, self.sn_eps = tuple(attention), bn_eps, sn_eps
        self.mybn = mybn
        self.block_sizes = sizes.generator_blocks(resolution, ch)
        common = {"sn_eps": sn_eps, "dtype": self.dtype_policy}
        self.shared = Embedding(num_classes, shared_dim, name="shared", dtype=self.dtype_policy)
        first = self.block_sizes[0].in_channels
        self.linear = BigGANDense(first * sizes.START**2, name="linear", **common)
        self.blocks = [
            BigGANGeneratorBlock(
                size.in_channels,
                size.out_channels,
                shared_dim + self.chunk,
                bn_eps=bn_eps,
                mybn=mybn,
                name=f"block_{k}",
                **common,
            )
            for k, size in enumerate(self.block_sizes)
        ]
        self.attentions = [
            BigGANAttention(size.out_channels, name=f"attention_{k}", **common)
            if size.side in self.attention
            else None
            for k, size in enumerate(self.block_sizes)
        ]
        self.norm = BigGANBatchNorm(
            epsilon=BN_EPSILON, mybn=mybn, name="norm", dtype=self.dtype_policy
        )
        self.to_rgb = BigGANConv2D(3, 3, name="to_rgb", **common)
        self.build()

    def build(self, *_):
        if self.built:
            return
        self.shared.build()
        self.linear.build((None, self.chunk))
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            block.build()
            if attention is not None:
                attention.build()
        last = (None, None, None, self.block_sizes[-1].out_channels)
        self.norm.build(last)
        self.to_rgb.build(last)
        self.built = True

    @property
    def latent_dim(self):
        """Length of ``v``, a latent and an embedding side by side."""
        return self.dim_z + self.shared_dim

    def embedding(self, label):
        """Class embeddings [B, shared_dim] of labels int [B]."""
        return self.shared(label)

    def call(self, z, e, training=False):
        return self._image(self._features(z, e, training)[-1], training)

    def synthesis(self, v, training=False, until=None):
        """``Made`` of ``v`` = [z | e], float [B, latent_dim].

        ``until``: side of the block to stop after; then there is no image.
        """
        features = self._features(v[:, : self.dim_z], v[:, self.dim_z :], training, until)
        image = self._image(features[-1], training) if until is None else None
        return Made(image, features)

    def feature(self, v, resolution, training=False):
        """Output [B, resolution, resolution, C] of the block of this side, attention included.

        Nothing above it is computed, and in training mode no state above it moves.
        """
        return self.synthesis(v, training, until=resolution).features[-1]

    def _features(self, z, e, training, until=None):
        """Outputs of the blocks, up to that of the side ``until``."""
        sides = [size.side for size in self.block_sizes]
        if until is not None and until not in sides:
            raise ValueError(
                f"A feature of this generator must be one of the sides {sides}. Received: {until}."
            )
        z, e = (ops.cast(x, self.compute_dtype) for x in (z, e))
        first, *parts = ops.split(z, len(self.blocks) + 1, axis=1)
        x = ops.reshape(
            self.linear(first, training=training),
            (-1, self.block_sizes[0].in_channels, sizes.START, sizes.START),
        )
        x, features = ops.transpose(x, (0, 2, 3, 1)), []
        for part, block, attention, side in zip(
            parts, self.blocks, self.attentions, sides, strict=True
        ):
            x = block(x, ops.concatenate([e, part], axis=1), training=training)
            if attention is not None:
                x = attention(x, training=training)
            features.append(x)
            if side == until:
                break
        return features

    def _image(self, x, training):
        x = ops.relu(self.norm(x, training=training))
        return ops.tanh(ops.cast(self.to_rgb(x, training=training), self.variable_dtype))

    def get_config(self):
        return super().get_config() | {
            "resolution": self.resolution,
            "ch": self.ch,
            "num_classes": self.num_classes,
            "dim_z": self.dim_z,
            "shared_dim": self.shared_dim,
            "attention": self.attention,
            "bn_eps": self.bn_eps,
            "sn_eps": self.sn_eps,
            "mybn": self.mybn,
        }

"""The generator: a mapping network, and a synthesis network with skips to the image."""

import keras
from keras import ops

from oasis_tf.systems.few_shot.outputs import Made
from oasis_tf.systems.few_shot.stylegan2.layers import EqualDense, StyledConv, ToRGB
from oasis_tf.systems.few_shot.stylegan2.operators import pixel_norm, upsample

_SMALLEST = 4
_MAPPING_RATE = 0.01


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class Generator(keras.Model):
    """StyleGAN2's generator, images from latents (Karras et al. 2020, section 4, fig. 7b).

    Args:
        size: int, side of images, a power of 2 from 8 on.
        channels: dict from every resolution 4, 8, ..., ``size`` to its number of channels.
        style_dim: int, default 512, length of latents and of styles.
        num_mlp: int, default 8, layers of the mapping network.
        clamp: float, activations and colours are clamped to [-clamp, clamp]; default None: they
            are not.

    Attributes:
        latent_dim: int, length of latents.
        num_rows: int, ``2 log2(size) - 2``, rows of styles of one image.
        noise_shapes: list of ints, the sides of noise maps, one per styled convolution.

    Call arguments:
        z: float [B, latent_dim], standard normal.
        noise: list of float [B or 1, r, r, 1], see ``noise_shapes``; default: the stored noise.
        truncation: float or scalar, default 1: styles go towards ``w_mean`` by this factor.
        w_mean: float [1, style_dim], mean style.

    Returns:
        float [B, size, size, 3], nominally in [-1, 1].
    """

    def __init__(
        self,
        size,
        channels,
        style_dim=512,
        num_mlp=8,
        clamp=None,
        name="generator",
        dtype=None,
        **kwargs,
    ):
        super().__init__(name=name, dtype=dtype, **kwargs | {"autocast": False})
        self.size, self.channels = size, {int(k): v for k, v in channels.items()}
        self.style_dim, self.num_mlp, self.clamp = style_dim, num_mlp, clamp
        self.latent_dim = style_dim
        sides = resolutions(size)
        self.noise_shapes = [side for side in sides for _ in range(2)][1:]
        self.num_rows = 2 * len(sides)
        common = {"clamp": clamp, "dtype": self.dtype_policy}
        self.dense = [
            EqualDense(
                style_dim, True, _MAPPING_RATE, name=f"mapping_{k}", dtype=self.variable_dtype
            )
            for k in range(num_mlp)
        ]
        self.convs = [
            StyledConv(self.channels[side], up=k % 2 == 1, name=f"conv_{k}", **common)
            for k, side in enumerate(self.noise_shapes)
        ]
        self.to_rgb = [ToRGB(name=f"to_rgb_{k}", **common) for k in range(len(sides))]
        self.build()

    def build(self, *_):
        if self.built:
            return
        style, sides = (None, self.style_dim), resolutions(self.size)
        for layer in self.dense:
            layer.build(style)
        normal = keras.initializers.RandomNormal(stddev=1.0)
        shape = (_SMALLEST, _SMALLEST, self.channels[_SMALLEST])
        self.constant = self.add_weight(
            name="constant", shape=shape, initializer=normal, autocast=False
        )
        self.noises = [
            self.add_weight(
                name=f"noise_{k}",
                shape=(side, side),
                initializer=normal,
                trainable=False,
                autocast=False,
            )
            for k, side in enumerate(self.noise_shapes)
        ]
        incoming = self.channels[_SMALLEST]
        for layer in self.convs:
            layer.build((None, None, None, incoming), style)
            incoming = layer.filters
        for side, layer in zip(sides, self.to_rgb, strict=True):
            layer.build((None, None, None, self.channels[side]), style)
        self.built = True

    # === Styles ===

    def mapping(self, z):
        """Styles w [B, style_dim] of latents z [B, latent_dim]."""
        w = pixel_norm(ops.cast(z, self.variable_dtype))
        for layer in self.dense:
            w = layer(w)
        return w

    def rows(self, w):
        """The same style for every row: [B, S] -> [B, num_rows, S]."""
        return ops.repeat(w[:, None], self.num_rows, axis=1)

    def mixed(self, w_a, w_b, index):
        """Rows [B, num_rows, S]: those below ``index`` from one style, the others from another.

        Args:
            w_a, w_b: float [B, S].
            index: int scalar or [B], 1..num_rows - 1; 0 takes all rows from ``w_a``.
        """
        index = ops.reshape(ops.convert_to_tensor(index, "int32"), (-1, 1, 1))
        number = ops.reshape(ops.arange(self.num_rows, dtype="int32"), (1, -1, 1))
        of_a = ops.logical_or(number < index, index == 0)
        return ops.where(of_a, w_a[:, None], w_b[:, None])

    def truncated(self, w, truncation, w_mean):
        """Styles [B, S] moved towards ``w_mean`` [1, S]: ``w_mean + truncation (w - w_mean)``."""
        if w_mean is None:
            if isinstance(truncation, (int, float)) and truncation == 1:
                return w
            raise ValueError(
                f"Truncation needs the mean style: give `w_mean`. Received: truncation={truncation}"
                ", w_mean=None."
            )
        mean = ops.cast(w_mean, w.dtype)
        return mean + ops.cast(truncation, w.dtype) * (w - mean)

    # === Images ===

    def call(self, z, noise=None, truncation=1.0, w_mean=None):
        w = self.truncated(self.mapping(z), truncation, w_mean)
        return self.synthesis(self.rows(w), noise).image

    def synthesis(self, rows, noise=None, until=None):
        """Images from styles.

        Args:
            rows: float [B, num_rows, S].
            noise: as of ``call``.
            until: int, resolution behind whose last styled convolution the synthesis stops;
                default None, it goes on to the image.

        Returns:
            ``Made``.
        """
        noise = [x[None, :, :, None] for x in self.noises] if noise is None else noise
        x = ops.cast(ops.convert_to_tensor(self.constant), self.compute_dtype)
        x = ops.repeat(x[None], ops.shape(rows)[0], axis=0)
        styles = ops.unstack(rows, self.num_rows, axis=1)
        image, features = None, []
        for k, layer in enumerate(self.convs):
            x = layer(x, styles[k], noise[k])
            features.append(x)
            if until is None and k % 2 == 0:
                colours = self.to_rgb[k // 2](x, styles[k + 1])
                image = colours if image is None else upsample(image) + colours
            if k % 2 == 0 and self.noise_shapes[k] == until:
                break
        return Made(image, features)

    def feature(self, z, resolution, noise=None):
        """The last features [B, r, r, C] of a resolution; nothing above it is computed."""
        return self.synthesis(self.rows(self.mapping(z)), noise, until=resolution).features[-1]

    def get_config(self):
        return super().get_config() | {
            "size": self.size,
            "channels": self.channels,
            "style_dim": self.style_dim,
            "num_mlp": self.num_mlp,
            "clamp": self.clamp,
        }


def resolutions(size):
    """Sides 4, 8, ..., ``size`` of the maps of an image.

    Raises:
        ValueError: ``size`` is no power of 2, or below 8.
    """
    if size < 8 or size & (size - 1):
        raise ValueError(f"The side of images must be a power of 2 from 8 on. Received: {size}.")
    return [2**k for k in range(2, size.bit_length())]

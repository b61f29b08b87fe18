"""The generator: a latent, a first map, residual blocks, and an image after every block."""

from typing import Any, NamedTuple

import keras
from keras import ops

from oasis_tf.layers.resampling import upsample
from oasis_tf.systems.one_shot.models.layers import Block, OneShotConv2D


class Generated(NamedTuple):
    """What a generator makes.

    Attributes:
        images: float [B, h, w, 3] in [-1, 1], smallest first; the last is the sample.
        features: outputs of all blocks after tanh, [B, h, w, C], smallest first.
        mask: softmax over classes [B, H, W, N]; None without masks.
    """

    images: list
    features: list
    mask: Any


@keras.saving.register_keras_serializable("oasis_tf.one_shot")
class GeneratorBlock(Block):
    """``conv_1(lrelu(conv_0(up(lrelu(x)))))`` plus ``conv_s(up(x))``.

    A 1x1 convolution without bias commutes with nearest-neighbour upsampling, so the skip convolves
    first, which is cheaper. ``up=False`` leaves the upsampling out.
    """

    def __init__(self, in_channels, out_channels, norm="none", up=True, **kwargs):
        super().__init__(in_channels, out_channels, norm, **kwargs)
        self.up = up
        self.make_parts(3, ("upsample" if up else "none", "none"))

    def call(self, x, training=False):
        y = self.conv_0(self.activated(x, 0, training), training=training)
        y = self.conv_1(self.activated(y, 1, training), training=training)
        skip = self.skip(x, training)
        return y + (upsample(skip) if self.up else skip)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        factor = 2 if self.up else 1
        sides = (side and factor * side for side in (height, width))
        return (batch, *sides, self.out_channels)

    def get_config(self):
        return super().get_config() | {"up": self.up}


@keras.saving.register_keras_serializable("oasis_tf.one_shot")
class LatentToMap(keras.layers.Layer):
    """A linear layer from a latent to a map: ``y[i, j] = bias + z @ kernel[:, i, j]``.

    Call arguments: ``z`` [B, Z]. Returns: [B, height, width, filters].
    """

    def __init__(self, height, width, filters, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width, self.filters = height, width, filters

    def build(self, input_shape):
        shape = (input_shape[-1], self.height, self.width, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, autocast=False)
        self.bias = self.add_weight(
            name="bias", shape=shape[-1:], initializer="zeros", autocast=False
        )
        self.built = True

    def call(self, z):
        kernel = ops.reshape(ops.cast(self.kernel, self.compute_dtype), (self.kernel.shape[0], -1))
        shape = (-1, self.height, self.width, self.filters)
        return ops.reshape(ops.matmul(z, kernel), shape) + ops.cast(self.bias, self.compute_dtype)

    def get_config(self):
        sizes = {"height": self.height, "width": self.width, "filters": self.filters}
        return super().get_config() | sizes


@keras.saving.register_keras_serializable("oasis_tf.one_shot")
class Generator(keras.Model):
    """Images, and with classes masks, from latents.

    Args:
        grid: (height, width) of the first map.
        widths: channels of the first map and after every block.
        noise_dim: int, length of a latent.
        num_classes: int, default 0; above, a mask is generated.
        latent: "learned" (default) or "broadcast".
        norm: "none" (default) or "batch".
        detached_mask: bool, default False, whether gradients of the mask stop at its layer.

    Call arguments:
        z: float [B, noise_dim].
        training: bool. True takes a power iteration in every layer.
        num_images: int, how many images are made, the largest ones; default all. In training, u and
            v of all layers move, also of those that are left out.
        grid: (height, width) of another first map: of a broadcast latent exact, of a learned one
            resized (bilinear).

    Returns:
        ``Generated``.
    """

    def __init__(
        self,
        grid,
        widths,
        noise_dim=64,
        num_classes=0,
        latent="learned",
        norm="none",
        detached_mask=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.grid, self.widths, self.noise_dim = tuple(grid), tuple(widths), noise_dim
        self.num_classes, self.latent, self.norm = num_classes, latent, norm
        self.detached_mask = detached_mask
        common = {"dtype": self.dtype_policy}
        self.first = None
        inner = list(widths)
        if latent == "learned":
            self.first = LatentToMap(*self.grid, widths[0], name="first", **common)
        else:
            inner[0] = noise_dim
        self.blocks = [
            GeneratorBlock(*inner[k : k + 2], norm, up=k > 0, name=f"block_{k}", **common)
            for k in range(len(widths) - 1)
        ]
        self.to_rgb = [
            OneShotConv2D(3, 3, name=f"to_rgb_{k}", **common) for k in range(len(self.blocks))
        ]
        self.to_mask = None
        if num_classes:
            self.to_mask = keras.layers.Conv2D(
                num_classes,
                3,
                padding="same",
                data_format="channels_last",
                name="to_mask",
                **common,
            )
        self.build()

    def build(self, *_):
        if self.built:
            return
        if self.first is not None:
            self.first.build((None, self.noise_dim))
        for block, to_rgb in zip(self.blocks, self.to_rgb, strict=True):
            block.build()
            to_rgb.build((None, None, None, block.out_channels))
        if self.to_mask is not None:
            self.to_mask.build((None, None, None, self.widths[-1]))
        self.built = True

    def call(self, z, training=False, num_images=None, grid=None):
        h = self._first_map(z, grid)
        unseen = 0 if num_images is None else len(self.blocks) - num_images
        images, features = [], []
        for k, (block, to_rgb) in enumerate(zip(self.blocks, self.to_rgb, strict=True)):
            h = block(h, training=training)
            features.append(ops.tanh(h))
            if k >= unseen:
                images.append(ops.tanh(to_rgb(h, training=training)))
            elif training:
                to_rgb.power_iteration()
        return Generated(images, features, self._mask(h))

    def _first_map(self, z, grid):
        grid = tuple(grid or self.grid)
        if self.first is None:
            shape = (ops.shape(z)[0], *grid, self.noise_dim)
            return ops.broadcast_to(z[:, None, None], shape)
        h = self.first(z)
        if grid == self.grid:
            return h
        return ops.image.resize(h, grid, "bilinear", data_format="channels_last")

    def _mask(self, h):
        if self.to_mask is None:
            return None
        h = ops.stop_gradient(h) if self.detached_mask else h
        return ops.softmax(ops.cast(self.to_mask(h), self.variable_dtype), axis=-1)

    def variables_trained(self, num_images):
        """Trainable variables, without the layers of images that nobody looks at."""
        unseen = {id(v) for layer in self.to_rgb[:-num_images] for v in layer.variables}
        return [v for v in self.trainable_variables if id(v) not in unseen]

    def get_config(self):
        return super().get_config() | {
            "grid": self.grid,
            "widths": self.widths,
            "noise_dim": self.noise_dim,
            "num_classes": self.num_classes,
            "latent": self.latent,
            "norm": self.norm,
            "detached_mask": self.detached_mask,
        }

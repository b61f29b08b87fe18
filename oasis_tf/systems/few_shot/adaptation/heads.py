"""Heads of a discriminator's inner maps: one logit for every position."""

import keras

from oasis_tf.systems.few_shot.adaptation import patches
from oasis_tf.systems.few_shot.biggan.layers import BigGANConv2D
from oasis_tf.systems.few_shot.biggan_sizes import discriminator_blocks
from oasis_tf.systems.few_shot.stylegan2.layers import EqualConv2D


class Heads(keras.Model):
    """One head for every map.

    Args:
        layers: list of layers.
        channels: list of ints, those of the maps.

    Call arguments:
        maps: list of float [B, h, w, C].

    Returns:
        list of logits [B, h, w, 1].
    """

    def __init__(self, layers, channels, name="heads"):
        super().__init__(name=name, autocast=False)
        self.heads, self.channels = layers, channels
        self.build()

    def build(self, *_):
        if self.built:
            return
        for layer, width in zip(self.heads, self.channels, strict=True):
            layer.build((None, None, None, width))
        self.built = True

    def call(self, maps, training=True):
        return [
            layer(x, training=training) if isinstance(layer, BigGANConv2D) else layer(x)
            for layer, x in zip(self.heads, maps, strict=True)
        ]


def block_heads(config, dtype):
    """(layers, channels) of L_all's heads, one for every block but the last (section 3.2).

    A 3x3 convolution of the kind that the network has, with bias and without activation.
    """
    model = config.model
    if model.network == "stylegan2":
        channels = [model.widths[side] for side in model.resolutions[-2::-1]]
        options = {"activate": False, "use_bias": True, "gain": 1.0}
        make = EqualConv2D
    else:
        channels = [block.out_channels for block in discriminator_blocks(model.size, model.ch)[:-1]]
        make, options = BigGANConv2D, {"sn_eps": model.sn_eps}
    layers = [make(1, 3, name=f"head_{k}", dtype=dtype, **options) for k in range(len(channels))]
    return layers, channels


def patch_heads(config, dtype, number=None):
    """(layers, channels) of CDC's heads: 3x3 convolutions with sqrt(2) LeakyReLU.

    ``number``: how many of the four; default: as the settings say.
    """
    number = number or config.adaptation.patch_heads
    channels = patches.channels(config.model.widths)[:number]
    return [EqualConv2D(1, 3, name=f"head_{k}", dtype=dtype) for k in range(number)], channels

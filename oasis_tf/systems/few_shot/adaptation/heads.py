"""Heads of a discriminator's inner blocks: one logit for every position of their maps."""

import keras

from oasis_tf.systems.few_shot.stylegan2.layers import EqualConv2D, EqualLayer
from oasis_tf.systems.few_shot.stylegan2.operators import GAIN, activated, conv


@keras.saving.register_keras_serializable("oasis_tf.few_shot")
class LogitMap(EqualLayer):
    """An equalised 3x3 convolution with bias, [B, H, W, C] -> [B, H, W, 1]."""

    def build(self, input_shape):
        self.add_kernel(3, 3, input_shape[-1], 1)
        self.add_bias(1)
        self.built = True

    def call(self, x):
        kernel = self.computed(self.scaled_kernel())
        return conv(self.computed(x), kernel) + self.computed(self.bias)


class Heads(keras.Model):
    """One head for every map.

    Args:
        layers: list of layers, named ``head_0``, ….
        channels: list of ints, those of the maps.
    """

    def __init__(self, layers, channels, name="heads"):
        super().__init__(name=name)
        self.heads = layers
        for layer, width in zip(layers, channels, strict=True):
            layer.build((None, None, None, width))
        self.built = True

    def call(self, maps):
        return [layer(x) for layer, x in zip(self.heads, maps, strict=True)]

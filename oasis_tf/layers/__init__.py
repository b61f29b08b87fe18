"""Layers of OASIS, written on ``keras.ops`` alone so that every Keras backend runs them."""

from oasis_tf.layers.batch_norm import BatchNorm
from oasis_tf.layers.instance_norm import InstanceNorm
from oasis_tf.layers.label_conv import LabelConv2D, shared_label_conv
from oasis_tf.layers.label_image_conv import LabelImageConv2D, SpectralLabelImageConv2D
from oasis_tf.layers.spade import SPADEModulation, SPADEResBlock
from oasis_tf.layers.spectral_norm import SpectralConv2D

__all__ = [
    "BatchNorm",
    "InstanceNorm",
    "LabelConv2D",
    "LabelImageConv2D",
    "SPADEModulation",
    "SPADEResBlock",
    "SpectralConv2D",
    "SpectralLabelImageConv2D",
    "shared_label_conv",
]

"""Layers for every system. Those exported here run on every Keras backend.

Some have a faster path on TensorFlow.
"""

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

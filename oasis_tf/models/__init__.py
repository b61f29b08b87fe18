"""Networks of OASIS, SPADE and the ablations between them.

Importing them needs Keras alone; ``OASIS`` itself, which joins them, is ``oasis_tf.OASIS``.
"""

from oasis_tf.models.discriminator import Discriminator
from oasis_tf.models.encoder import Encoder, reparameterised
from oasis_tf.models.generator import Generator
from oasis_tf.models.multi_scale import MultiScale
from oasis_tf.models.patch import PatchDiscriminator
from oasis_tf.models.resnet_patch import ResNetPatchDiscriminator

__all__ = [
    "Discriminator",
    "Encoder",
    "Generator",
    "MultiScale",
    "PatchDiscriminator",
    "ResNetPatchDiscriminator",
    "reparameterised",
]

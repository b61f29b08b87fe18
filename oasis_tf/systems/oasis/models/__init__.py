"""Networks of OASIS, SPADE and the ablations between them.

They need only Keras. The model that combines them is ``oasis_tf.OASIS``.
"""

from oasis_tf.systems.oasis.models.discriminator import Discriminator
from oasis_tf.systems.oasis.models.encoder import Encoder, reparameterised
from oasis_tf.systems.oasis.models.generator import Generator
from oasis_tf.systems.oasis.models.multi_scale import MultiScale
from oasis_tf.systems.oasis.models.patch import PatchDiscriminator
from oasis_tf.systems.oasis.models.resnet_patch import ResNetPatchDiscriminator

__all__ = [
    "Discriminator",
    "Encoder",
    "Generator",
    "MultiScale",
    "PatchDiscriminator",
    "ResNetPatchDiscriminator",
    "reparameterised",
]

"""BigGAN (Brock et al., ICLR 2019), 32x32 to 256x256."""

from oasis_tf.systems.few_shot.biggan.discriminator import Discriminator
from oasis_tf.systems.few_shot.biggan.generator import Generator
from oasis_tf.systems.few_shot.biggan.initial_values import initialise

__all__ = ["Discriminator", "Generator", "initialise"]

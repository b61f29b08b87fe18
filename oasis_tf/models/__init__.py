"""Networks of OASIS. Importing them needs Keras alone; ``OASIS`` itself is ``oasis_tf.OASIS``."""

from oasis_tf.models.discriminator import Discriminator
from oasis_tf.models.encoder import Encoder, reparameterised
from oasis_tf.models.generator import Generator

__all__ = ["Discriminator", "Encoder", "Generator", "reparameterised"]

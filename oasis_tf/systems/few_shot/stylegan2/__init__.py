"""StyleGAN2 (Karras et al., CVPR 2020): generator and discriminator, of any table of widths."""

from oasis_tf.systems.few_shot.stylegan2.discriminator import Discriminator, Judged
from oasis_tf.systems.few_shot.stylegan2.generator import Generator, Made
from oasis_tf.systems.few_shot.stylegan2.layers import initialise

__all__ = ["Discriminator", "Generator", "Judged", "Made", "initialise"]

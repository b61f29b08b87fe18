"""What images are generated from: latents of seeds, and the ways between them.

StyleGAN2 takes z, normal numbers. BigGAN takes v = [z | e]. In a model of classes e is the
embedding of one of them; after adaptation, which has no classes, v is a joint Gaussian.
"""

import dataclasses
from typing import Any

import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.latents import between, moved

SAMPLE = randomness.named_stream("few_shot/sample")
_CLASS = randomness.named_stream("few_shot/sample_class")
_DIRECTIONS = randomness.named_stream("few_shot/directions")


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Normal numbers, perhaps of another mean and deviation.

    Attributes:
        size: Z, their number.
        mean, deviation: float32 [Z], or floats.
    """

    size: int
    mean: Any = 0.0
    deviation: Any = 1.0

    def of_seeds(self, seeds):
        """Latents float32 [B, Z] of seeds int64 [B]; a latent is decided by its own seed."""
        return self._placed(randomness.normal_by_seed(seeds, SAMPLE, [self.size]))

    def between(self, first, second, share):
        """As ``oasis_tf.latents.between``."""
        return self._placed(between(self._plain(first), self._plain(second), share))

    def moved(self, latent, amounts):
        """Latents [B, Z] moved along the model's directions by amounts float32 [B, K] in -1..1."""
        directions = _directions(amounts.shape[1], self.size)
        return self._placed(moved(self._plain(latent), directions, amounts))

    def scaled(self, latent, truncation):
        """Latents whose distance from the mean is scaled by a truncation in 0..1."""
        return self._placed(truncation * self._plain(latent))

    def described(self):
        """What an application must know to draw latents, ready for JSON; nothing of normal ones."""
        if isinstance(self.mean, float):
            return {}
        return {
            "latent_mean": self.mean.numpy().tolist(),
            "latent_deviation": self.deviation.numpy().tolist(),
        }

    def _placed(self, normal):
        return self.mean + self.deviation * normal

    def _plain(self, latent):
        return (latent - self.mean) / self.deviation


@dataclasses.dataclass(frozen=True)
class OfClasses:
    """Normal numbers, and the embedding of a class.

    Attributes:
        size: Z, the length of both together.
        table: float32 [N, E], the embeddings of the classes.
    """

    size: int
    table: Any

    def of_seeds(self, seeds):
        """Latents float32 [B, Z] of seeds int64 [B], which also decide the class."""
        z = randomness.normal_by_seed(seeds, SAMPLE, [self._drawn])
        count = self.table.shape[0]
        share = randomness.uniform_by_seed(seeds, _CLASS, [])
        number = tf.minimum(tf.cast(share * count, tf.int32), count - 1)
        return self._joined(z, tf.gather(self.table, number))

    def between(self, first, second, share):
        """As ``oasis_tf.latents.between``; embeddings lie on the line."""
        (z_a, e_a), (z_b, e_b) = self._split(first), self._split(second)
        return self._joined(between(z_a, z_b, share), (1 - share) * e_a + share * e_b)

    def moved(self, latent, amounts):
        """Latents moved as those of a ``Gaussian``; the class stays."""
        z, e = self._split(latent)
        return self._joined(moved(z, _directions(amounts.shape[1], self._drawn), amounts), e)

    def scaled(self, latent, truncation):
        """Latents whose normal numbers are scaled by a truncation in 0..1."""
        z, e = self._split(latent)
        return self._joined(truncation * z, e)

    def described(self):
        """As of a ``Gaussian``: the embeddings, which follow the normal numbers."""
        return {"embeddings": self.table.numpy().tolist()}

    @property
    def _drawn(self):
        return self.size - self.table.shape[1]

    def _split(self, latent):
        return latent[:, : self._drawn], latent[:, self._drawn :]

    @staticmethod
    def _joined(z, e):
        return tf.concat([z, e], axis=-1)


def prior_of(config, generator):
    """What latents of a model are drawn from: a ``Gaussian``, or ``OfClasses``.

    Args:
        config: ``Config``.
        generator: of BigGAN, the one whose table of embeddings counts: that of the source, if any.
    """
    size = config.model.latent_dim
    if config.model.network == "stylegan2":
        return Gaussian(size)
    table = tf.cast(generator.embedding(tf.range(config.model.num_classes)), tf.float32)
    if not config.adapted:
        return OfClasses(size, table)
    if config.adaptation.embedding_scale == "standard":
        return Gaussian(size)
    mean, variance = tf.nn.moments(table, axes=[0])
    z = tf.zeros([size - table.shape[1]])
    return Gaussian(size, tf.concat([z, mean], 0), tf.concat([1 + z, tf.sqrt(variance)], 0))


def _directions(count, size):
    """The directions of a page's sliders: latents float32 [K, Z] that no seed has."""
    return randomness.normal(randomness.make_key(0, _DIRECTIONS), [count, size])

"""How a model of `few_shot` generates: images of seeds and latents, walks, source beside target."""

import functools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.io.images import contact_sheet, to_uint8
from oasis_tf.latents import closed_walk
from oasis_tf.layers.spectral_norm import spectral_layers
from oasis_tf.systems.few_shot import latents
from oasis_tf.systems.few_shot.biggan.layers import standing_statistics

BATCH = 8  # images that are generated at a time
_MEAN_OF = 4096  # random latents whose mean w truncation pulls towards
_STANDING_PASSES = 16  # as in BigGAN's published code
_STANDING_BATCH = 32
_MEAN = randomness.named_stream("few_shot/mean_w")


class Samples(NamedTuple):
    """Generated images.

    Attributes:
        image: float32 [B, H, W, 3] in [-1, 1].
        source: the images of the same latents by the source, of the same form; None where they
            were not asked for.
    """

    image: Any
    source: Any = None

    def named(self):
        """Those that there are, by name."""
        return {name: x for name, x in self._asdict().items() if x is not None}

    def sheet(self):
        """The images side by side, uint8 [h, w, 3]; those of the source above."""
        rows = [self.image] if self.source is None else [self.source, self.image]
        return contact_sheet([list(to_uint8(row)) for row in rows])


class Sampling:
    """What a model for use does; a mixin of the class that holds networks and state.

    That class has these attributes:
        config: ``Config``.
        generator_ema: averaged generator, which samples.
        source_generator: the frozen generator of the source; None in a model that was not adapted.
    """

    _centres = None

    @property
    def prior(self):
        """What latents are drawn from; see ``latents``."""
        learnt = self.source_generator if self.config.adapted else self.generator_ema
        return latents.prior_of(self.config, learnt)

    def settle(self):
        """Computes once and for all what stays with the weights of a model for use.

        With StyleGAN2 the means of w; with BigGAN standing statistics, if it can have them, and
        spectral norms.
        """
        self._centres = {name: self._centre(name) for name in self.samplers}
        if self.config.model.network == "biggan":
            for network in self.networks_for_use():
                if self.config.model.standing_statistics:
                    standing_statistics(network, self._standing_latents())
                for layer in spectral_layers(network):
                    layer.fold()

    def _standing_latents(self):
        """Latents of the passes of standing statistics, of seeds below 0."""
        batch = min(self.config.training.batch_size, _STANDING_BATCH)
        for k in range(1, _STANDING_PASSES + 1):
            yield self.latents(tf.range(batch, dtype=tf.int64) - k * batch)

    def sample(self, seed=0, truncation=1.0, num_samples=None, *, source=False):
        """Images of seeds.

        Args:
            seed: int, or int64 [B]; one image for each.
            truncation: float in 0..1. With StyleGAN2 w is pulled towards its mean, with BigGAN z
                is scaled; 1 leaves both.
            num_samples: int, for the seeds ``seed``, ``seed + 1``, …; default: one image of an int.
            source: whether the source generates from the same latents, too.

        Returns:
            ``Samples`` of NumPy arrays.

        Raises:
            ValueError: a truncation outside 0..1, both a list of seeds and ``num_samples``, or
                ``source`` with a model that was not adapted.
        """
        seeds = randomness.sample_seeds(seed, num_samples)
        seeds = np.array([seed], np.int64) if seeds is None else seeds
        return self.sample_latents(self.latents(seeds), truncation, source=source)

    def latents(self, seeds):
        """Latents float32 [B, Z] of seeds, a list or int64 [B]."""
        return self._of_seeds(tf.constant(seeds, tf.int64))

    def sample_latents(self, latent, truncation=1.0, *, source=False):
        """``Samples`` of latents float32 [B, Z]; see ``sample``."""
        if not 0 <= truncation <= 1:
            raise ValueError(f"`truncation` must be in 0..1. Received: truncation={truncation}.")
        if source:
            self.config.check_adapted("source")
        found = {}
        for name in ("image", "source") if source else ("image",):
            parts = [
                self.samplers[name](
                    tf.cast(latent[k : k + BATCH], tf.float32),
                    tf.constant(truncation, tf.float32),
                    self.centre(name),
                )
                for k in range(0, len(latent), BATCH)
            ]
            found[name] = np.concatenate([part.numpy() for part in parts])
        return Samples(**found)

    def walk(self, seed_a, seed_b, steps=12, truncation=1.0, *, source=False):
        """Images on the way from one seed to another, both ends included.

        Args:
            seed_a, seed_b: ints.
            steps: int, images, at least 2.
            truncation, source: as of ``sample``.

        Returns:
            ``Samples`` of ``steps`` images; the first and the last are those of the seeds.

        Raises:
            ValueError: as ``sample``, or fewer than two steps.
        """
        if steps < 2:
            raise ValueError(f"`steps` must be at least 2. Received: steps={steps}.")
        ends = tf.split(self.latents([seed_a, seed_b]), 2)
        shares = tf.linspace(0.0, 1.0, steps)[:, None]
        return self.sample_latents(self.prior.between(*ends, shares), truncation, source=source)

    def closed_walk(self, seeds, frames):
        """Latents float32 [N * frames, Z] from that of each seed to the next, and back."""
        return closed_walk(self.latents(seeds), frames, self.prior.between)

    # === Inside graphs ===

    def generated(self, latent, truncation, centre, of="image"):
        """Images, float32 tensor [B, H, W, 3] in [-1, 1], of latents float32 [B, Z].

        Args:
            latent: float32 [B, Z].
            truncation: float32 scalar.
            centre: what ``centre(of)`` gives.
            of: "image", or "source" for the source's.
        """
        network = self._network(of)
        if self.config.model.network == "stylegan2":
            image = network(latent, truncation=truncation, w_mean=centre)
        else:
            image = network.synthesis(self.prior.scaled(latent, truncation), training=False).image
        # StyleGAN2's last operation is a sum, which may leave the range.
        return tf.clip_by_value(tf.cast(image, tf.float32), -1.0, 1.0)

    def centre(self, of="image"):
        """What truncation pulls towards: the mean w, float32 [1, S]; None with BigGAN.

        In a model that is not settled it is computed anew, for its weights change.
        """
        return self._centre(of) if self._centres is None else self._centres[of]

    def _centre(self, of):
        if self.config.model.network != "stylegan2":
            return None
        return self._mean_w[of]()

    def networks_for_use(self):
        """The generators that sample: the averaged one, and that of the source."""
        return [self._network(of) for of in self._of()]

    def _network(self, of):
        return {"image": self.generator_ema, "source": self.source_generator}[of]

    @functools.cached_property
    def samplers(self):
        """Compiled functions of latent, truncation and centre, by what they generate."""
        return {of: self._compiled(self.generated, of=of) for of in self._of()}

    @functools.cached_property
    def _of_seeds(self):
        # In a graph: quicker.
        return self._compiled(lambda seeds: self.prior.of_seeds(seeds))

    @functools.cached_property
    def _mean_w(self):
        return {of: self._compiled(self._computed_mean, of) for of in self._of()}

    def _computed_mean(self, of):
        key = randomness.make_key(0, _MEAN)
        w = self._network(of).mapping(randomness.normal(key, [_MEAN_OF, self.prior.size]))
        return tf.reduce_mean(tf.cast(w, tf.float32), axis=0, keepdims=True)

    def _of(self):
        return ("image",) if self.source_generator is None else ("image", "source")

    @staticmethod
    def _compiled(function, *args, **options):
        bound = functools.partial(function, *args, **options)
        return tf.function(bound, autograph=False, reduce_retracing=True)

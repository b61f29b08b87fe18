"""SIV-GAN or OSMIS: its networks, how it samples, and its state."""

import contextlib
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from oasis_tf.environment import check_backend
from oasis_tf.io.images import contact_sheet, to_uint8
from oasis_tf.layers.spectral_norm import spectral_layers
from oasis_tf.randomness import as_seeds
from oasis_tf.systems.one_shot import draws, losses, masks
from oasis_tf.systems.one_shot.iteration import Iteration
from oasis_tf.training.named_weights import borrowed_state, named_weights

check_backend()


class Samples(NamedTuple):
    """Generated images.

    Attributes:
        image: float32 [B, H, W, 3] in [-1, 1].
        mask: uint8 [B, H, W], ids of classes, 0 the background; None without masks.
    """

    image: Any
    mask: Any

    def named(self):
        """Those that there are, by name."""
        return {name: x for name, x in self._asdict().items() if x is not None}

    def sheet(self):
        """The images side by side, uint8 [h, w, 3]."""
        return contact_sheet([list(to_uint8(self.image))])


class OneShot(Iteration):
    """Generator, its average, discriminators and optimizers.

    Args:
        config: ``Config``.
        generator_ema: averaged ``Generator``, which samples.
        generator, discriminator: the trained ones; None in a model for use.
        mask_discriminator: a second one that sees images and masks; or None.

    Attributes:
        dtype: of images, masks and losses between the networks.
        step: int64 variable, steps so far.
    """

    def __init__(
        self, config, generator_ema, generator=None, discriminator=None, mask_discriminator=None
    ):
        self.config, self.settings = config, config.training
        self.blocks_d0 = config.model.blocks_d0
        self.generator_ema, self.generator = generator_ema, generator
        self.discriminator, self.mask_discriminator = discriminator, mask_discriminator
        self.generator_optimizer = self.discriminator_optimizer = None
        self.dtype = generator_ema.variable_dtype
        self.head_weights = losses.head_weights(
            config.model.blocks_d,
            config.model.blocks_d0,
            config.training.loss_weights,
            config.model.content_branch,
            config.model.layout_branch,
            config.training.low_level_loss,
        )
        self.step = keras.Variable(
            0, dtype="int64", trainable=False, aggregation="only_first_replica", name="step"
        )
        self._sampled = tf.function(self.generated, autograph=False, reduce_retracing=True)

    def compile(self, generator_optimizer, discriminator_optimizer):
        """Takes the optimizers, and makes their state."""
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        generator_optimizer.build(self.generator.variables_trained(self.blocks_d0))
        discriminator_optimizer.build(self.discriminator_variables)

    @property
    def discriminator_variables(self):
        """Trainable variables of the discriminators."""
        networks = filter(None, (self.discriminator, self.mask_discriminator))
        return [v for network in networks for v in network.trainable_variables]

    def networks(self):
        """The networks that there are, by name."""
        names = ("generator", "generator_ema", "discriminator", "mask_discriminator")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def variables(self):
        """Every variable of the state, by a stable name."""
        state = {"step": self.step}
        for name, network in self.networks().items():
            state |= {f"{name}/{key}": v for key, v in named_weights(network).items()}
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            state |= {v.path: v for v in optimizer.variables} if optimizer else {}
        return state

    def train_step(self, image, mask):
        """One iteration with the draws of this step; arguments and result as of ``iteration``."""
        step = self.step.value
        found = draws.draw(self.config, step)
        logs = self.iteration(image, mask, found, step < self.settings.bernoulli_warmup)
        self.step.assign_add(1)
        return logs

    # === Use ===

    def sample(self, seed=0, num_samples=None, grid=None):
        """Images, and with masks their masks, of seeds.

        Args:
            seed: int, or int64 [B]; one image for each.
            num_samples: int, for the seeds ``seed``, ``seed + 1``, …; default: one image of an int.
            grid: (height, width) of another first map, for images of other sizes; see
                ``Generator``.

        Returns:
            ``Samples`` of NumPy arrays.
        """
        if np.ndim(seed) == 0:
            seeds = np.arange(num_samples or 1, dtype=np.int64) + np.int64(seed)
        else:
            seeds = as_seeds(seed, len(seed))
        z = draws.latents_of(tf.constant(seeds), self.config.model.noise_dim)
        return self.sample_latents(z, grid)

    def sample_latents(self, z, grid=None):
        """``Samples`` of latents float [B, Z]; see ``sample``."""
        found = self._sampled(tf.cast(z, self.dtype), grid=grid)
        return Samples(*(None if x is None else x.numpy() for x in found))

    def generated(self, z, grid=None):
        """``Samples`` of tensors, of latents [B, Z]."""
        made = self.generator_ema(z, training=False, num_images=1, grid=grid)
        image = tf.cast(made.images[-1], tf.float32)
        if made.mask is None:
            return Samples(image, None)
        return Samples(image, tf.cast(tf.argmax(made.mask, axis=-1), tf.uint8))

    def settle(self):
        """Takes one power iteration in the averaged generator.

        Averages of u and v are no unit vectors. A model for use is settled once.
        """
        for layer in spectral_layers(self.generator_ema):
            layer.power_iteration()

    def fold(self):
        """Has the averaged generator compute its norms once and for all; for a model for use."""
        for layer in spectral_layers(self.generator_ema):
            layer.fold()

    @contextlib.contextmanager
    def settled(self):
        """Has the averaged generator settled inside the block alone."""
        with borrowed_state(self.generator_ema):
            self.settle()
            yield


def mask_channels(config, values, dtype):
    """The masks of a batch as channels; see ``masks.channels``."""
    return masks.channels(values, config.model.num_classes, config.source.binary, dtype)

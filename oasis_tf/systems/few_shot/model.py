"""StyleGAN2 or BigGAN, alone or beside the source that it was adapted from, and its state."""

import keras
import tensorflow as tf

from oasis_tf.environment import check_backend
from oasis_tf.layers import winograd
from oasis_tf.systems.few_shot import draws
from oasis_tf.systems.few_shot.adaptation import freezing
from oasis_tf.systems.few_shot.iteration import Iteration
from oasis_tf.systems.few_shot.sampling import Sampling
from oasis_tf.training.named_weights import named_weights

check_backend()


class FewShot(Iteration, Sampling):
    """Generator, its average, source, discriminator with heads, and optimizers.

    Args:
        config: ``Config``.
        generator_ema: averaged generator, which samples.
        source_generator: the frozen generator of the source; None in a model that was not adapted.
        generator, discriminator: the trained ones; None in a model for use.
        heads: ``Heads`` of the discriminator's inner maps; None without.
        modulations: AdAM's ``Modulation`` of generator ("g") and discriminator ("d"); or None.

    Attributes:
        dtype: of images, logits and losses between the networks.
        step: int64 variable, steps so far.
        path_mean: average path length.
        averaged: (average, variable) pairs of the moving average: with StyleGAN2 of weights, with
            BigGAN of batch statistics and u, too.
        discriminator_variables: trained variables of the discriminator, and of heads that all
            take part in every step.
        patch_variables: those of heads that judge patches, which have an optimizer of their own.
    """

    def __init__(
        self,
        config,
        generator_ema,
        source_generator=None,
        generator=None,
        discriminator=None,
        heads=None,
        modulations=None,
    ):
        self.config, self.settings, self.adaptation = config, config.training, config.adaptation
        self.generator_ema, self.source_generator = generator_ema, source_generator
        self.generator, self.discriminator, self.heads = generator, discriminator, heads
        self.modulations = modulations or {}
        self.optimizers = []
        self.dtype = generator_ema.variable_dtype
        self.step = _number("step", "int64")
        self.path_mean = _number("path_mean", self.dtype)
        if generator is not None:
            self._find_variables()

    def _find_variables(self):
        self.generator_variables = self.generator.trainable_variables
        pairs = zip(self.generator_ema.variables, self.generator.variables, strict=True)
        whole = self.config.model.network == "biggan"
        self.averaged = [(average, v) for average, v in pairs if whole or v.trainable]
        of_heads = [] if self.heads is None else self.heads.trainable_variables
        patch = self.adaptation.d_loss == "patch"
        trained = freezing.trained_variables(self.discriminator, self.adaptation.train_last_d)
        self.discriminator_variables = [*trained, *([] if patch else of_heads)]
        self.patch_variables = of_heads if patch else []

    def compile(self, generator_optimizer, discriminator_optimizer, patch_optimizer=None):
        """Takes the optimizers, and makes their state."""
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.patch_optimizer = patch_optimizer
        factors = {which: found.factors for which, found in self.modulations.items()}
        generator_optimizer.build([*self.generator_variables, *factors.get("g", ())])
        discriminator_optimizer.build([*self.discriminator_variables, *factors.get("d", ())])
        self.optimizers = [generator_optimizer, discriminator_optimizer]
        if patch_optimizer is not None:
            patch_optimizer.build(self.patch_variables)
            self.optimizers.append(patch_optimizer)

    def networks(self):
        """The networks that there are, by the name that checkpoints give them."""
        found = {
            "generator": self.generator,
            "generator_ema": self.generator_ema,
            "source": self.source_generator,
            "discriminator": self.discriminator,
            "heads": self.heads,
        }
        return {name: network for name, network in found.items() if network is not None}

    def variables(self):
        """Every variable of the state, by a stable name."""
        state = {"step": self.step, "path_mean": self.path_mean}
        for name, network in self.networks().items():
            state |= {f"{name}/{key}": v for key, v in named_weights(network).items()}
        for which, modulation in self.modulations.items():
            found = modulation.variables().items()
            state |= {f"modulation_{which}/{key}": v for key, v in found}
        for optimizer in self.optimizers:
            state |= {v.path: v for v in optimizer.variables}
        return state

    def end_probing(self):
        """Begins AdAM's adaptation after its probing: all as at the start, filters chosen."""
        for modulation in self.modulations.values():
            modulation.choose(self.adaptation.modulated_above)
        for optimizer in self.optimizers:
            for variable in optimizer.variables:
                if variable.name.endswith(("iteration", "velocity", "momentum")):
                    variable.assign(tf.zeros(variable.shape, variable.dtype))
        for average, variable in self.averaged:
            average.assign(variable.value)
        self.path_mean.assign(0)

    def train_step(self, pictures, label, parts):
        """One iteration with the draws of this step.

        Args:
            pictures: uint8 [B, H, W, 3], this replica's rows.
            label: int32 [B], classes; None without.
            parts: ``Parts`` of the step.

        Returns:
            as ``iteration``.
        """
        found = draws.draw(self.config, self.step.value, parts)
        image = tf.cast(pictures, self.dtype) / 127.5 - 1
        if found.flip is not None:
            flip = draws.own(found.flip, self.settings.batch_size)
            image = tf.where(flip[:, None, None, None], image[:, :, ::-1], image)
        with winograd.fewer_products():
            logs = self.iteration(image, label, found, parts)
        self.step.assign_add(1)
        return logs


def _number(name, dtype):
    return keras.Variable(
        0, dtype=dtype, trainable=False, aggregation="only_first_replica", name=name
    )

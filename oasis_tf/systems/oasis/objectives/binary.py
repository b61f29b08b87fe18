"""The objective of U-Nets that take the label map: one real-or-fake logit per pixel."""

import math

import keras

from oasis_tf.systems.oasis import losses
from oasis_tf.systems.oasis.objectives.objective import LogitObjective, mean_over_scales

_FAKE, _REAL = 0, 1


@keras.saving.register_keras_serializable("oasis_tf")
class BinaryObjective(LogitObjective):
    """Binary cross-entropy of every pixel; for G, towards "real"."""

    joint = False
    loss_of_guessing = math.log(2)

    def generator_loss(self, logits_fake, targets):
        return _loss(logits_fake, _REAL)

    def discriminator_losses(self, logits_fake, logits_real, targets):
        return _loss(logits_fake, _FAKE), _loss(logits_real, _REAL)


def _loss(logits, target):
    return mean_over_scales(lambda of_scale: losses.binary_loss(of_scale, target), logits)

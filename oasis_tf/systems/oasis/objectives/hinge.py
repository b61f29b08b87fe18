"""The objective of PatchGANs, as in SPADE: the hinge loss."""

import keras

from oasis_tf.systems.oasis import losses
from oasis_tf.systems.oasis.objectives.objective import LogitObjective, mean_over_scales


@keras.saving.register_keras_serializable("oasis_tf")
class HingeObjective(LogitObjective):
    """``max(0, 1 - D(real))``, ``max(0, 1 + D(fake))`` and, for G, ``-D(fake)``: means."""

    joint = True
    loss_of_guessing = 1.0

    def generator_loss(self, logits_fake, targets):
        return mean_over_scales(losses.hinge_generator_loss, logits_fake)

    def discriminator_losses(self, logits_fake, logits_real, targets):
        return (
            mean_over_scales(losses.hinge_fake_loss, logits_fake),
            mean_over_scales(losses.hinge_real_loss, logits_real),
        )

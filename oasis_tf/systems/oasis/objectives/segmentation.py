"""The objective of OASIS: D segments into N classes and "fake" (ICLR 2021, eq. 1-3)."""

import math

import keras

from oasis_tf.layers.label_conv import downsample
from oasis_tf.systems.oasis import losses
from oasis_tf.systems.oasis.objectives.objective import mean_over_scales


@keras.saving.register_keras_serializable("oasis_tf")
class SegmentationObjective:
    """Cross-entropy over N + 1 channels: "fake" for D on generated images, else the label map.

    Args:
        num_classes: int N, including the unknown class.
        has_unknown: bool, whether model id 0 is the unknown class, whose pixels have weight 0.
        balanced: bool, default True: the fewer pixels a class has, the larger its weight.
    """

    joint = False
    segments = True

    def __init__(self, num_classes, has_unknown, balanced=True):
        self.num_classes = num_classes
        self.has_unknown = has_unknown
        self.balanced = balanced

    @property
    def loss_of_guessing(self):
        return math.log(self.num_classes + 1)

    def targets(self, label_map, scales, dtype):
        """(label map, class weights) of every scale, each with half the sides of the one before."""
        return [
            (at_scale, self._weights(at_scale, dtype))
            for at_scale in (downsample(label_map, 2**scale) for scale in range(scales))
        ]

    def _weights(self, label_map, dtype):
        return losses.class_weights(
            label_map, self.num_classes, self.has_unknown, dtype, balanced=self.balanced
        )

    def generator_loss(self, logits_fake, targets):
        return _loss_as_real(logits_fake, targets)

    def discriminator_losses(self, logits_fake, logits_real, targets):
        loss_fake = mean_over_scales(losses.fake_loss, logits_fake)
        return loss_fake, _loss_as_real(logits_real, targets)

    def accuracies(self, logits_fake, logits_real, targets):
        return (
            mean_over_scales(lambda logits: losses.accuracy(logits, losses.FAKE), logits_fake),
            mean_over_scales(
                lambda logits, label_map: losses.accuracy(logits, label_map + 1),
                logits_real,
                [label_map for label_map, _ in targets],
            ),
        )

    def called_real(self, logits_real):
        of_scale = lambda logits: 1 - losses.accuracy(logits, losses.FAKE)  # noqa: E731
        return mean_over_scales(of_scale, logits_real)

    def get_config(self):
        return {
            "num_classes": self.num_classes,
            "has_unknown": self.has_unknown,
            "balanced": self.balanced,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def _loss_as_real(logits, targets):
    return mean_over_scales(lambda of_scale, target: losses.real_loss(of_scale, *target),
                            logits, targets)  # fmt: skip

"""Losses as pure functions of logits, label maps and features.

Means are over the examples of this replica; class counts are over the global batch. All replicas
hold the same number of examples, so the mean of their losses is the loss of the global batch. A
loss that is a sum over the batch is therefore multiplied by ``num_replicas()``.
"""

from oasis_tf.systems.oasis.losses.adversarial import (
    binary_loss,
    hinge_fake_loss,
    hinge_generator_loss,
    hinge_real_loss,
)
from oasis_tf.systems.oasis.losses.auxiliary import feature_matching_loss, kld_loss
from oasis_tf.systems.oasis.losses.chunked import (
    ChunkedLogits,
    head_accuracy,
    head_cross_entropy,
    head_labelmix_loss,
)
from oasis_tf.systems.oasis.losses.consistency import cutmix_mask, labelmix_loss, labelmix_mask, mix
from oasis_tf.systems.oasis.losses.perceptual import PerceptualLoss
from oasis_tf.systems.oasis.losses.segmentation import (
    FAKE,
    accuracy,
    class_counts,
    class_weights,
    cross_entropy,
    fake_loss,
    real_loss,
)

__all__ = [
    "FAKE",
    "ChunkedLogits",
    "PerceptualLoss",
    "accuracy",
    "binary_loss",
    "class_counts",
    "class_weights",
    "cross_entropy",
    "cutmix_mask",
    "fake_loss",
    "feature_matching_loss",
    "head_accuracy",
    "head_cross_entropy",
    "head_labelmix_loss",
    "hinge_fake_loss",
    "hinge_generator_loss",
    "hinge_real_loss",
    "kld_loss",
    "labelmix_loss",
    "labelmix_mask",
    "mix",
    "real_loss",
]

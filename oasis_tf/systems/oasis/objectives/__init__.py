"""Objectives: how the training step computes losses and accuracies from a discriminator's logits.

Every kind of discriminator has its objective. ``joint`` says whether generated and real images go
through the discriminator in one batch, and so with one power iteration. ``segments`` says whether
the logits give the class of a pixel. The methods compute losses and accuracies, each as the mean
over the scales of the discriminator.
"""

from oasis_tf.systems.oasis.objectives.binary import BinaryObjective
from oasis_tf.systems.oasis.objectives.hinge import HingeObjective
from oasis_tf.systems.oasis.objectives.objective import Objective
from oasis_tf.systems.oasis.objectives.segmentation import SegmentationObjective

__all__ = ["BinaryObjective", "HingeObjective", "Objective", "SegmentationObjective"]

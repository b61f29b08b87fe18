"""What a discriminator's logits mean: the losses and accuracies between them and the training step.

An objective is what joins a discriminator to the one training loop. ``joint`` says whether
generated and real images go through the discriminator in one batch, and so with one power
iteration; ``segments`` whether its logits tell the class of a pixel; its methods turn logits into
losses and accuracies, each the mean over the scales of the discriminator.
"""

from oasis_tf.systems.oasis.objectives.binary import BinaryObjective
from oasis_tf.systems.oasis.objectives.hinge import HingeObjective
from oasis_tf.systems.oasis.objectives.objective import Objective
from oasis_tf.systems.oasis.objectives.segmentation import SegmentationObjective

__all__ = ["BinaryObjective", "HingeObjective", "Objective", "SegmentationObjective"]

"""What metrics ask of a system: images for seeds, and which kinds of images it can give."""

import abc
import dataclasses
import enum
from collections.abc import Mapping, Set

from oasis_tf.data.datasets import LabelSpace


class Capability(enum.Enum):
    """What a metric may need of a model; the value says why, after "The metric NAME"."""

    LABEL_MAPS = "needs the label maps that images were generated from"
    NOISE = "compares images of different noise"
    LOCAL_NOISE = "compares images of noise that differs in one class alone"
    SEGMENTATION = "scores the model's own segmentation of real images"


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """What a model can do for metrics; known from its configuration, before it is loaded.

    Attributes:
        has: the capabilities that the model has.
        label_space: `LabelSpace` of the model; None without `Capability.LABEL_MAPS`.
        reasons: for capabilities that it lacks, sentences about it that say why.
    """

    has: Set[Capability]
    label_space: LabelSpace | None = None
    reasons: Mapping[Capability, str] = dataclasses.field(default_factory=dict)

    def check(self, metric, needs):
        """Refuses a metric that the model cannot have.

        Args:
            metric: its name.
            needs: several `Capability`.

        Raises:
            ValueError: the model lacks one of them; the message names the metric.
        """
        for need in needs:
            if need not in self.has:
                reason = self.reasons.get(need, "A model of this kind has none.")
                raise ValueError(f"The metric {metric} {need.value}. {reason} Leave it out.")


class Sampler(abc.ABC):
    """Generates the images that are measured. A system implements it; see `Capability`."""

    @abc.abstractmethod
    def refresh(self):
        """Takes the weights of this moment."""

    @abc.abstractmethod
    def __call__(self, label_map, seed):
        """One image for each seed.

        Args:
            label_map: integers [B,H,W] in model ids; None, or not looked at, without
                `Capability.LABEL_MAPS`.
            seed: int64 [B]; an image depends on its own label map and seed alone.

        Returns:
            float32 [B,H,W,3] in [-1, 1].
        """

    def noise(self, seed):
        """Noise vectors, float32 [B,Z], of seeds [B]; needs `Capability.LOCAL_NOISE`."""
        raise NotImplementedError

    def from_field(self, label_map, noise_index, vectors):
        """Images with a noise vector for every pixel; needs `Capability.LOCAL_NOISE`.

        Args:
            label_map: integers [B,H,W] in model ids.
            noise_index: integers [B,H,W] in 0..K-1.
            vectors: float32 [B,K,Z]; the noise at a pixel is `vectors[b, noise_index[b, i, j]]`.

        Returns:
            float32 [B,H,W,3] in [-1, 1].
        """
        raise NotImplementedError

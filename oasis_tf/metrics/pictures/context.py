"""A model of a few pictures, as far as metrics know it."""

import dataclasses
import functools

import numpy as np

from oasis_tf.metrics.diversity import perceptual
from oasis_tf.metrics.evaluator import finite_uint8
from oasis_tf.metrics.settings import PicturesEvaluationConfig

_BATCH = 8


@dataclasses.dataclass(frozen=True)
class PicturesContext:
    """A model of a few pictures, as far as metrics know it.

    Attributes:
        model_dir: its directory.
        step: training step of the weights.
        data_dir: where the pictures lie that the model is measured on.
        images: uint8 [K,H,W,3], the training pictures in their training size.
        masks: uint8 [K,H,W], ids of their classes; None without masks.
        num_classes: classes of the masks, the background included; 0 without masks.
        sampler: function(seeds int64 [B]) -> images float32 [B,H,W,3] in [-1, 1], and masks uint8
            [B,H,W] or None.
        augmented: function(count) -> uint8 [count,H,W,3], pictures augmented as in training; None
            where nothing needs them.
        held_out: uint8 [N,H,W,3], pictures that the model was not trained on; or None.
        walk: function(seed_a, seed_b, steps) -> images float32 [steps,H,W,3], of latents on a line
            between those of two seeds; or None.
        head_losses: function(images uint8 [B,H,W,3], generated uint8 [B,H,W,3]) -> the losses of
            discriminator and generator by the name of every head, floats; or None.
        seed: of the first sample.
        settings: `PicturesEvaluationConfig`.
    """

    model_dir: str
    step: int
    data_dir: str
    images: np.ndarray
    masks: np.ndarray | None
    num_classes: int
    sampler: object
    augmented: object = None
    held_out: np.ndarray | None = None
    walk: object = None
    head_losses: object = None
    seed: int = 0
    settings: PicturesEvaluationConfig = PicturesEvaluationConfig()
    _parts: list = dataclasses.field(default_factory=list)

    @property
    def height(self):
        return self.images.shape[1]

    @property
    def width(self):
        return self.images.shape[2]

    def facts(self):
        """What a report says of the data and of the images."""
        split, count = "train", self.settings.evaluation_samples
        dataset = f"{len(self.images)} training pictures"
        if self.held_out is not None:
            split, count = "held out", len(self.held_out)
            dataset = f"{count} held-out pictures, {dataset}"
        return {
            "data_dir": self.data_dir,
            "dataset": dataset,
            "split": split,
            "num_images": count,
            "height": self.height,
            "width": self.width,
        }

    @functools.cached_property
    def samples(self):
        """Images uint8 [S,H,W,3] of the seeds `seed` + i, and masks uint8 [S,H,W] or None."""
        return self.first(self.settings.evaluation_samples)

    def first(self, count):
        """As `samples`, of so many seeds. What was generated once is kept."""
        made = sum(len(images) for images, _ in self._parts)
        for k in range(made, count, _BATCH):
            seeds = np.arange(k, min(k + _BATCH, count), dtype=np.int64) + self.seed
            images, masks = self.sampler(seeds)
            self._parts.append((finite_uint8(images), masks))
        images, masks = zip(*self._parts, strict=True)
        masks = None if masks[0] is None else np.concatenate(masks)[:count]
        return np.concatenate(images)[:count], masks

    @functools.cached_property
    def lpips(self):
        """`PerceptualDistance` of the settings."""
        return perceptual.lpips(self.settings.lpips_backbone, self.settings.lpips_heads)

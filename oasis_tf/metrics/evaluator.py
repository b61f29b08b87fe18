"""What every metric shares: the batch it sees and the interface it offers.

An evaluator is built from an `EvaluationContext`, is shown every batch of the validation split
once, and returns named values. The last batch is padded to full size, so that nothing is traced
twice; evaluators count the rows where `valid` holds.
"""

import abc
import dataclasses
import functools
from typing import Any

import numpy as np

from oasis_tf.data import verification
from oasis_tf.images import to_uint8


@dataclasses.dataclass(frozen=True)
class EvaluationContext:
    """What evaluators are built from.

    Attributes:
        model: `OASIS`.
        dataset: `PreparedDataset`.
        model_dir: directory of the model; evaluators may keep files there.
        batch_size: rows of every batch.
        segmenter_steps: training steps of the segmenter; None takes `segmenter.default_steps`.
        skip_corrupt: whether records that cannot be used are left out instead of refused.
    """

    model: Any
    dataset: Any
    model_dir: str
    batch_size: int = 16
    segmenter_steps: int | None = None
    skip_corrupt: bool = False

    @property
    def num_images(self):
        """Validation images that are evaluated."""
        return verification.usable_records(self.dataset, "val", self.skip_corrupt).count

    @property
    def height(self):
        """Height of the images evaluated: that of the training crop."""
        return self.model.config.data.crop_height

    @property
    def width(self):
        """Width of the images evaluated: that of the training crop."""
        return self.model.config.data.crop_width


@dataclasses.dataclass(frozen=True)
class EvaluationBatch:
    """One batch of the validation split.

    Attributes:
        model: `OASIS`, which paints `generated` when a metric first asks for it.
        image: uint8 [B,H,W,3], real photographs.
        label_map: int32 [B,H,W], model ids.
        seed: int64 [B], one noise seed an image.
        valid: bool [B]; False marks padding.
    """

    model: Any
    image: np.ndarray
    label_map: np.ndarray
    seed: np.ndarray
    valid: np.ndarray

    @functools.cached_property
    def generated(self):
        """One image for each label map, uint8 [B,H,W,3]: what a PNG file of it would hold."""
        return to_uint8(self.model.generate(self.label_map, seed=self.seed))


class Evaluator(abc.ABC):
    """One family of metrics, collected over batches. Subclasses take an `EvaluationContext`."""

    needs_discriminator = False

    @abc.abstractmethod
    def update(self, batch):
        """Takes in one `EvaluationBatch`."""

    @abc.abstractmethod
    def result(self):
        """Returns a dict of `FAMILY/NAME` -> float; NaN where a value does not exist."""


def padded_batches(dataset_batches, model, batch_size, seed):
    """Yields an `EvaluationBatch` for each batch read, the last one padded by its last row.

    Args:
        dataset_batches: iterable of (uint8 [b,H,W,3], integers [b,H,W]), b <= batch_size.
        model: `OASIS`.
        batch_size: rows of every batch yielded.
        seed: the i-th image of the split has noise seed `seed + i`.
    """
    index = 0
    for image, label_map in dataset_batches:
        rows = len(image)
        padding = [(0, batch_size - rows)]
        yield EvaluationBatch(
            model=model,
            image=np.pad(image, padding + [(0, 0)] * 3, mode="edge"),
            label_map=np.pad(label_map, padding + [(0, 0)] * 2, mode="edge").astype(np.int32),
            seed=seed + index + np.arange(batch_size, dtype=np.int64),
            valid=np.arange(batch_size) < rows,
        )
        index += rows

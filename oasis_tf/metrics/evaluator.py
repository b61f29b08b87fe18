"""What every metric shares: the batch it sees and the interface it offers.

An evaluator is built from an `EvaluationContext`, is shown the batches of the validation split, and
makes named values of what it collected. The last batch is padded to full size, so that nothing is
traced twice; evaluators count the rows where `valid` holds. Several workers share the batches: each
collects a state, and the values come from the states of all of them.
"""

import abc
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from oasis_tf.data import verification
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io.images import to_uint8
from oasis_tf.metrics.sampler import Capability, Sampler
from oasis_tf.metrics.settings import EvaluationConfig


@dataclasses.dataclass(frozen=True)
class EvaluationContext:
    """A model, as far as metrics know it, and the data that it is measured on.

    Attributes:
        dataset: `PreparedDataset`.
        model_dir: directory of the model; evaluators may keep files there.
        height, width: size of the images evaluated.
        sampler: `Sampler`, which generates the images.
        step: training step of the weights.
        label_space: `LabelSpace` of the model; None for a model without label maps.
        segment: function(uint8 [B,H,W,3]) -> int32 [B,H,W] model ids, the model's own segmentation;
            None for a model without `Capability.SEGMENTATION`.
        batch_size: rows of every batch.
        skip_corrupt: whether records that cannot be used are left out instead of refused.
        settings: `EvaluationConfig`: networks, their files, numbers of samples.
        split: which split is evaluated; another than "val" only by metrics with `of_training`.
        at: places in it of the images that are evaluated; None: all.
    """

    dataset: PreparedDataset
    model_dir: str
    height: int
    width: int
    sampler: Sampler
    step: int = 0
    label_space: LabelSpace | None = None
    segment: Callable[[np.ndarray], np.ndarray] | None = None
    batch_size: int = 16
    skip_corrupt: bool = False
    settings: EvaluationConfig = EvaluationConfig()
    split: str = "val"
    at: tuple[int, ...] | None = None

    @property
    def num_images(self):
        """Images that are evaluated."""
        if self.at is not None:
            return len(self.at)
        return verification.usable_records(self.dataset, self.split, self.skip_corrupt).count

    def facts(self):
        """What a report says of the data and of the images."""
        return {
            "data_dir": os.path.abspath(self.dataset.data_dir),
            "dataset": self.dataset.label_space.dataset,
            "split": self.split,
            "num_images": self.num_images,
            "height": self.height,
            "width": self.width,
        }

    @property
    def ignored_class(self):
        """Model id of the unknown label, None in a data set without one."""
        return 0 if self.dataset.label_space.has_unknown else None


@dataclasses.dataclass(frozen=True)
class EvaluationBatch:
    """One batch of the validation split.

    Attributes:
        sampler: `Sampler`, which makes `generated` when a metric first asks for it.
        image: uint8 [B,H,W,3], real photographs.
        label_map: int32 [B,H,W], model ids; None in data without label maps.
        seed: int64 [B], one noise seed an image.
        index: int64 [B], place of each image in the split.
        valid: bool [B]; False marks padding.
    """

    sampler: Sampler
    image: np.ndarray
    label_map: np.ndarray | None
    seed: np.ndarray
    index: np.ndarray
    valid: np.ndarray
    _features: dict = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def generated(self):
        """One image for each seed, uint8 [B,H,W,3]: what a PNG file of it would hold.

        Raises:
            ValueError: an image is not finite.
        """
        return finite_uint8(self.sampler(self.label_map, self.seed))

    def features(self, network, of):
        """Features of the valid rows, float32 [b,D], computed once for all metrics that ask.

        Args:
            network: a feature network (`features/networks.py`).
            of: "image" or "generated".
        """
        key = (network.digest, of)
        if key not in self._features:
            self._features[key] = network(getattr(self, of))[self.valid]
        return self._features[key]


def finite_uint8(image):
    """Generated images as 8-bit values, uint8 of the same shape.

    Raises:
        ValueError: a value is not finite; 8-bit values would hide that.
    """
    finite = np.isfinite(image)
    if not finite.all():
        raise ValueError(
            "Generated images must be finite. Received: "
            f"{finite.size - np.count_nonzero(finite)} of {finite.size} values are NaN or "
            "infinite. The weights have diverged: evaluate an earlier checkpoint (--checkpoint)."
        )
    return to_uint8(image)


@dataclasses.dataclass(frozen=True)
class Result:
    """What an evaluator found.

    Attributes:
        values: value name -> float; NaN where a value does not exist.
        protocol: what the values depend on besides model, data and seed (networks, counts, notes),
            ready for JSON.
        arrays: histograms and the like, for plots.
    """

    values: Mapping[str, float]
    protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Evaluator(abc.ABC):
    """One family of metrics, collected over batches. Subclasses take an `EvaluationContext`.

    Attributes:
        needs: each `Capability` that a model must have.
        needs_images: whether `update` is to be called.
        of_training: whether its values on training images, against those on validation images, tell
            over-fitting.
    """

    needs: tuple[Capability, ...] = ()
    needs_images = True
    of_training = False

    @classmethod
    def check(cls, settings, label_space):
        """Refuses settings that cannot work, before any model or network is loaded.

        Args:
            settings: `EvaluationConfig`.
            label_space: `LabelSpace` of the data set, None for a model without label maps.

        Raises:
            ValueError, OSError: a file that is missing, or that holds something else.
        """
        del settings, label_space

    @abc.abstractmethod
    def update(self, batch):
        """Takes in one `EvaluationBatch`."""

    @abc.abstractmethod
    def state(self):
        """What was collected, as a dict of name -> array."""

    @abc.abstractmethod
    def result(self, states):
        """The `Result` of the states of all workers, which share the batches between them."""


def padded_batches(dataset_batches, sampler, batch_size, seed):
    """Yields an `EvaluationBatch` for each batch read, the last one padded by its last row.

    Args:
        dataset_batches: iterable of (uint8 [b,H,W,3], integers [b,H,W] or None), b <= batch_size.
        sampler: `Sampler`.
        batch_size: rows of every batch yielded.
        seed: the i-th image of the split has noise seed `seed + i`.
    """
    first = 0
    for image, label_map in dataset_batches:
        rows = len(image)
        index = first + np.arange(batch_size, dtype=np.int64)
        yield EvaluationBatch(
            sampler=sampler,
            image=_padded(image, batch_size),
            label_map=None if label_map is None else _padded(label_map, batch_size, np.int32),
            seed=seed + index,
            index=index,
            valid=np.arange(batch_size) < rows,
        )
        first += rows


def _padded(rows, batch_size, dtype=None):
    padding = [(0, batch_size - len(rows))] + [(0, 0)] * (rows.ndim - 1)
    return np.pad(rows, padding, mode="edge").astype(dtype or rows.dtype)

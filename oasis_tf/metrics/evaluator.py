"""What every metric shares: the batch it sees and the interface it offers.

An evaluator is built from an `EvaluationContext`, is shown the batches of the validation split, and
makes named values of what it collected. The last batch is padded to full size, so that nothing is
traced twice; evaluators count the rows where `valid` holds. Several workers share the batches: each
collects a state, and the values come of all states together.
"""

import abc
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from oasis_tf.data import verification
from oasis_tf.io.images import to_uint8
from oasis_tf.metrics.settings import EvaluationConfig


@dataclasses.dataclass(frozen=True)
class EvaluationContext:
    """What evaluators are built from.

    Attributes:
        model: `OASIS`.
        dataset: `PreparedDataset`.
        model_dir: directory of the model; evaluators may keep files there.
        batch_size: rows of every batch.
        skip_corrupt: whether records that cannot be used are left out instead of refused.
        settings: `EvaluationConfig`: networks, their files, numbers of samples.
    """

    model: Any
    dataset: Any
    model_dir: str
    batch_size: int = 16
    skip_corrupt: bool = False
    settings: EvaluationConfig = EvaluationConfig()

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

    @property
    def ignored_class(self):
        """Model id of the unknown label, None in a data set without one."""
        return 0 if self.dataset.label_space.has_unknown else None


@dataclasses.dataclass(frozen=True)
class EvaluationBatch:
    """One batch of the validation split.

    Attributes:
        painter: `Painter`, which paints `generated` when a metric first asks for it.
        image: uint8 [B,H,W,3], real photographs.
        label_map: int32 [B,H,W], model ids.
        seed: int64 [B], one noise seed an image.
        index: int64 [B], place of each image in the split.
        valid: bool [B]; False marks padding.
    """

    painter: Any
    image: np.ndarray
    label_map: np.ndarray
    seed: np.ndarray
    index: np.ndarray
    valid: np.ndarray
    _features: dict = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def generated(self):
        """One image for each label map, uint8 [B,H,W,3]: what a PNG file of it would hold.

        Raises:
            ValueError: an image is not finite.
        """
        return finite_uint8(self.painter(self.label_map, self.seed))

    def features(self, network, of):
        """Features of the valid rows, float32 [b,D], computed once for all metrics that ask.

        Args:
            network: a feature network (`features.py`).
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
        needs_segmentation: whether the model's discriminator must segment.
        needs_noise: whether different seeds must give different images.
        needs_local_noise: whether noise must be able to differ within an image.
        needs_images: whether `update` is to be called.
    """

    needs_segmentation = False
    needs_noise = False
    needs_local_noise = False
    needs_images = True

    @classmethod
    def check(cls, settings, label_space):
        """Refuses settings that cannot work, before any model or network is loaded.

        Args:
            settings: `EvaluationConfig`.
            label_space: `LabelSpace` of the data set.

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


def padded_batches(dataset_batches, painter, batch_size, seed):
    """Yields an `EvaluationBatch` for each batch read, the last one padded by its last row.

    Args:
        dataset_batches: iterable of (uint8 [b,H,W,3], integers [b,H,W]), b <= batch_size.
        painter: `Painter`.
        batch_size: rows of every batch yielded.
        seed: the i-th image of the split has noise seed `seed + i`.
    """
    first = 0
    for image, label_map in dataset_batches:
        rows = len(image)
        padding = [(0, batch_size - rows)]
        index = first + np.arange(batch_size, dtype=np.int64)
        yield EvaluationBatch(
            painter=painter,
            image=np.pad(image, padding + [(0, 0)] * 3, mode="edge"),
            label_map=np.pad(label_map, padding + [(0, 0)] * 2, mode="edge").astype(np.int32),
            seed=seed + index,
            index=index,
            valid=np.arange(batch_size) < rows,
        )
        first += rows

"""A small data set as one .npz file, and what training on it draws, without TensorFlow."""

import dataclasses
import functools
import json
import os

import numpy as np

from oasis_tf.data.datasets import LabelSpace
from oasis_tf.io import files
from oasis_tf.systems.oasis.run_settings import resolve

TRAINING, STATISTICS, _ORDER = range(3)  # purposes of draws
_NAMES = {"images", "label_maps", "label_space", "data_dir"}


@dataclasses.dataclass(frozen=True)
class PackedData:
    """The training split of a prepared data set, at the size before the random crop.

    Attributes:
        images: uint8 [K, H, W, 3].
        label_maps: unsigned [K, H, W] in model ids.
        label_space: ``LabelSpace``.
        data_dir: str, where the prepared data set is.
    """

    images: np.ndarray
    label_maps: np.ndarray
    label_space: LabelSpace
    data_dir: str

    @classmethod
    def load(cls, path):
        """Raises ValueError if the file is something else, OSError if it cannot be read."""
        try:
            with np.load(path, allow_pickle=False) as found:
                arrays = {name: found[name] for name in _NAMES & set(found.files)}
        except ValueError as error:
            raise ValueError(f"{path} must be a file that --pack wrote: {error}.") from error
        if set(arrays) != _NAMES:
            raise ValueError(
                f"{path} must be a file that --pack wrote. It lacks: "
                f"{', '.join(sorted(_NAMES - set(arrays)))}."
            )
        space = LabelSpace.from_json(json.loads(str(arrays.pop("label_space"))))
        return cls(label_space=space, data_dir=str(arrays.pop("data_dir")), **arrays)

    def config(self, given):
        """The ``Config`` of a training on it; ``given`` are settings by name, as flags have them.

        Raises:
            ValueError: a setting is invalid, or contradicts the size that was packed.
        """
        sizes = dict(zip(("height", "width"), self.images.shape[1:3], strict=True))
        packed = {f"resize_{side}": size for side, size in sizes.items()}
        for name, size in packed.items():
            if given.get(name, size) != size:
                raise ValueError(
                    f"--{name} must be that of the packed images, {size}. Received: "
                    f"{name}={given[name]}. Leave it out, or --pack again with it."
                )
        crop = {f"crop_{side}": size for side, size in sizes.items()}
        given = {"data_dir": self.data_dir} | crop | given | packed
        return resolve(given, label_space=self.label_space, num_examples=len(self.images))


def pack(data_dir, path, given):
    """Writes the training split of a prepared data set; images are resized as `train` does it.

    Args:
        data_dir: prepared data set.
        path: of the .npz file, whole or not there.
        given: settings by name, of which the crop and ``resize_height``, ``resize_width`` count.

    Returns:
        `PackedData`.
    """
    from oasis_tf.data.pipeline import evaluation_batches  # here: it loads TensorFlow
    from oasis_tf.data.tfrecord import PreparedDataset

    prepared = PreparedDataset.load(data_dir)
    space, count = prepared.label_space, prepared.num_examples("train")
    config = resolve(given | {"data_dir": data_dir}, label_space=space, num_examples=count)
    size = {"height": config.data.resize_height, "width": config.data.resize_width}
    batches = evaluation_batches(data_dir, "train", batch_size=1, **size)
    pairs = [(image[0], labels[0]) for image, labels in batches.as_numpy_iterator()]
    images, label_maps = map(np.stack, zip(*pairs, strict=True))
    label_maps = label_maps.astype(np.min_scalar_type(space.num_classes - 1))
    found = PackedData(images, label_maps, space, os.path.abspath(data_dir))
    texts = {"label_space": json.dumps(space.to_json()), "data_dir": found.data_dir}
    with files.written_aside(path) as aside, open(aside, "wb") as file:
        np.savez_compressed(file, images=images, label_maps=label_maps, **texts)
    return found


class Draws:
    """What is drawn for the steps of a run, on the host: a function of (seed, purpose, step).

    Args:
        config: ``Config``.
        count: int, training images.
    """

    def __init__(self, config, count):
        self._config, self._count = config, count
        self._order = functools.lru_cache(2)(self._shuffled)

    def __call__(self, step, purpose=TRAINING):
        """Dict of arrays: rows, crops and flips [B], noise [B, Z], bits of LabelMix [N]."""
        model, data = self._config.model, self._config.data
        batch = self._config.training.batch_size
        rng = np.random.default_rng([self._config.training.seed, purpose, step])
        shape = (batch, model.vector_channels)
        return {
            "row": self._rows(step, purpose),
            "top": rng.integers(0, data.resize_height - data.crop_height + 1, batch, np.int32),
            "left": rng.integers(0, data.resize_width - data.crop_width + 1, batch, np.int32),
            "mirrored": rng.integers(0, 2, batch, np.int32) * np.int32(data.flip),
            "noise": rng.standard_normal(shape, np.float32),
            "discriminator_noise": rng.standard_normal(shape, np.float32),
            "labelmix_bits": rng.integers(0, 2, model.num_classes, np.int32),
        }

    def _rows(self, step, purpose):
        """Every image once an epoch, in an order of its own."""
        batch = self._config.training.batch_size
        places = [divmod(place, self._count) for place in range(step * batch, (step + 1) * batch)]
        return np.array([self._order(purpose, epoch)[at] for epoch, at in places], np.int32)

    def _shuffled(self, purpose, epoch):
        key = [self._config.training.seed, _ORDER, purpose, epoch]
        return np.random.default_rng(key).permutation(self._count)

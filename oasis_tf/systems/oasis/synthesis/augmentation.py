"""A synthetic twin of a training split: its label maps with generated images, a data set again.

The twin is a prepared data set like any other (`data/preparation.py` writes it: shards, then
`dataset.json`, and goes on where it was interrupted), which says that it is synthetic. With it a
segmenter learns from more images than were taken (ICLR 2021 names augmentation as a use).
"""

import dataclasses
import io
import json
import math
import os

import numpy as np
from PIL import Image

from oasis_tf.data import preparation, random_access
from oasis_tf.data.examples import EncodedExample
from oasis_tf.data.tfrecord import METADATA_FILE, PreparedDataset
from oasis_tf.systems.oasis import editing
from oasis_tf.systems.oasis.synthesis import outputs
from oasis_tf.systems.oasis.synthesis.easel import Easel
from oasis_tf.systems.oasis.synthesis.scenes import Sizing

# What is painted again after an interruption is a shard at most.
EXAMPLES_PER_SHARD = 128
SPLIT = "train"
_LOOKED_AT = 100  # label maps, for a word on their sizes


@dataclasses.dataclass(frozen=True)
class AugmentationPlan:
    """Everything checked, nothing painted yet."""

    dataset: PreparedDataset
    sizing: Sizing
    output_dir: str
    seed: int
    num_samples: int
    overwrite: bool
    notes: tuple[str, ...] = ()

    def places(self):
        """Where the records of the real images lie."""
        return random_access.record_places(self.dataset, SPLIT)


def plan_augmentation(
    config,
    data_dir,
    output_dir,
    *,
    seed=0,
    num_samples=1,
    size="native",
    height=None,
    width=None,
    overwrite=False,
):
    """Checks a twin before any work.

    Args:
        config: `Config` of the model.
        data_dir: prepared data set; None takes the one the model was trained on.
        output_dir: folder of the twin, made when needed.
        seed, num_samples: image i of the split is painted with noise seeds `seed + i`,
            `seed + i + n`, ..., where n images are in the split: `num_samples` twins of each.
        size, height, width: see `Sizing.chosen`; with "native", label maps stay as they are.
        overwrite: whether a data set in `output_dir` may be replaced.

    Raises:
        ValueError, OSError: the first rule broken, with what was received and what to do.
    """
    if num_samples < 1:
        raise ValueError(f"`num_samples` must be at least 1. Received: num_samples={num_samples}")
    if num_samples > 1 and not config.model.vector_channels:
        raise ValueError(
            "This model has no noise (noise_channels=0): it paints one image for a label map. "
            "Leave out --num_samples."
        )
    sizing = Sizing.chosen(config, size, height, width)
    dataset = PreparedDataset.load(data_dir or config.data.data_dir)
    if dataset.label_space.class_names != config.label_space.class_names:
        raise ValueError(
            "The model and the data set must have the same classes. Received: a model of "
            f"{config.label_space.num_classes} classes and a data set of "
            f"{dataset.label_space.num_classes} classes in {dataset.data_dir}."
        )
    if os.path.realpath(dataset.data_dir) == os.path.realpath(output_dir):
        raise ValueError(
            f"The twin must lie in another folder than the data set it is made from: {output_dir}"
        )
    if os.path.isfile(os.path.join(output_dir, METADATA_FILE)) and not overwrite:
        raise ValueError(
            f"{output_dir} holds a prepared data set already. Choose another --output, or replace "
            "it with --overwrite."
        )
    plan = AugmentationPlan(dataset, sizing, os.fspath(output_dir), seed, num_samples, overwrite)
    note = sizing.says([place.size() for place in plan.places()[:_LOOKED_AT]])
    return dataclasses.replace(plan, notes=(f"Of the first label maps, {note}",) if note else ())


def augment(model, plan, model_dir):
    """Writes the twin of a plan.

    Args:
        model: `OASIS`.
        plan: `AugmentationPlan`.
        model_dir: the model directory, for `dataset.json`.

    Returns:
        `PreparedDataset` of the one split "train".

    Raises:
        ValueError, OSError: damaged records, or `output_dir` cannot be written; run again to
            continue.
    """
    identity = outputs.model_identity(model)
    painter = _Painter(Easel(model, plan.sizing), plan.sizing, identity)
    places = plan.places()
    keys = [place.fields()[0] for place in places]
    sources = [
        _Twin(f"{key}_seed{seed}", place, seed, painter)
        for seed, (key, place) in enumerate(
            list(zip(keys, places, strict=True)) * plan.num_samples, plan.seed
        )
    ]
    return preparation.prepare(
        {SPLIT: sources},
        plan.dataset.label_space,
        plan.output_dir,
        num_shards=math.ceil(len(sources) / EXAMPLES_PER_SHARD),
        num_workers=1,  # the model is in this process
        overwrite=plan.overwrite,
        synthetic={
            "model_dir": os.path.abspath(model_dir),
            **identity,
            "data_dir": os.path.abspath(plan.dataset.data_dir),
            "split": SPLIT,
            "seed": plan.seed,
            "num_samples": plan.num_samples,
            "size": plan.sizing.size or "native",
            "keys": "KEY_seedSEED: key of the real image, noise seed of the generated one",
        },
    )


@dataclasses.dataclass(frozen=True)
class _Painter:
    """What all twins have in common."""

    easel: Easel
    sizing: Sizing
    identity: dict

    def __call__(self, label_map, seed):
        channels = self.easel.noise_channels

        def fields(shape):
            yield editing.image_noise(*shape, seed, channels) if channels else None

        (image,) = self.easel.generate(label_map, fields)
        return image


@dataclasses.dataclass(frozen=True)
class _Twin:
    """An example whose image is painted (see `data.examples.Source`)."""

    key: str
    place: random_access.RecordPlace
    seed: int
    painter: _Painter

    def check(self):
        return None

    def encode(self, label_space):
        label_map = self.painter.sizing.label_map(self.place.read_label()[1])
        height, width = label_map.shape
        pixels = np.bincount(label_map.ravel(), minlength=label_space.num_classes)
        image = _png(self.painter(label_map, self.seed))
        return EncodedExample(self.key, image, "png", _png(label_map), height, width, pixels)

    def identity(self):
        place = dataclasses.asdict(self.place) | {"shard_path": None}
        painter = [self.painter.identity, dataclasses.asdict(self.painter.sizing)]
        return json.dumps([self.key, place, self.seed, painter], sort_keys=True)

    def num_bytes(self):
        return self.place.end - self.place.start


def _png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()

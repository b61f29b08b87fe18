"""A synthetic twin of a training split: its label maps with generated images, a data set again.

The twin is a prepared data set like any other, whose `dataset.json` says that it is synthetic.
`data/preparation.py` writes it, and continues where it was interrupted. A segmenter can train on it
beside the real images (ICLR 2021 names augmentation as a use).
"""

import dataclasses
import json
import math
import os

import numpy as np

from oasis_tf.data import preparation, random_access
from oasis_tf.data.examples import EncodedExample
from oasis_tf.data.tfrecord import METADATA_FILE, PreparedDataset, load_for_model
from oasis_tf.io.images import encode_png
from oasis_tf.systems.oasis import editing
from oasis_tf.systems.oasis.synthesis import outputs
from oasis_tf.systems.oasis.synthesis.padded_model import PaddedModel
from oasis_tf.systems.oasis.synthesis.scenes import Sizing

# After an interruption, at most the images of one shard are generated again.
EXAMPLES_PER_SHARD = 128
SPLIT = "train"
_LOOKED_AT = 100  # label maps, for a note on their sizes


@dataclasses.dataclass(frozen=True)
class AugmentationPlan:
    """What will be generated, with all checks done."""

    dataset: PreparedDataset
    sizing: Sizing
    output_dir: str
    seed: int
    num_samples: int
    overwrite: bool
    notes: tuple[str, ...] = ()

    def places(self):
        """Places of the records of the real images."""
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
    """Checks the request of a twin before any work.

    Args:
        config: `Config` of the model.
        data_dir: prepared data set; None takes the one that the model was trained on.
        output_dir: folder of the twin, made when needed.
        seed, num_samples: image i of the n in the split is generated `num_samples` times, with
            noise seeds `seed + i`, `seed + i + n`, ...
        size, height, width: see `Sizing.chosen`; with "native", label maps stay as they are.
        overwrite: whether a data set in `output_dir` may be replaced.

    Raises:
        ValueError, OSError: the first rule broken, with what was received and what to do.
    """
    if num_samples < 1:
        raise ValueError(f"`num_samples` must be at least 1. Received: num_samples={num_samples}")
    if num_samples > 1:
        config.model.check_noise("generate several images of a label map (--num_samples)")
    sizing = Sizing.chosen(config, size, height, width)
    dataset = load_for_model(data_dir, config.data.data_dir)
    dataset.check_classes(config.label_space)
    if os.path.realpath(dataset.data_dir) == os.path.realpath(output_dir):
        raise ValueError(
            f"The twin must be in another folder than the data set it is made from: {output_dir}"
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
    generation = _Generation(PaddedModel(model, plan.sizing), plan.sizing, identity)
    places = plan.places()
    keys = [place.fields()[0] for place in places]
    sources = [
        _Twin(f"{key}_seed{seed}", place, seed, generation)
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
class _Generation:
    """What all twins have in common."""

    model: PaddedModel
    sizing: Sizing
    identity: dict

    def __call__(self, label_map, seed):
        channels = self.model.noise_channels

        def fields(shape):
            yield editing.image_noise(*shape, seed, channels) if channels else None

        (image,) = self.model.generate(label_map, fields)
        return image


@dataclasses.dataclass(frozen=True)
class _Twin:
    """An example whose image is generated (see `data.examples.Source`)."""

    key: str
    place: random_access.RecordPlace
    seed: int
    generation: _Generation

    def check(self, label_space):
        return []

    def encode(self, label_space):
        label_map = self.generation.sizing.label_map(self.place.read_label()[1])
        height, width = label_map.shape
        pixels = np.bincount(label_map.ravel(), minlength=label_space.num_classes)
        image = encode_png(self.generation(label_map, self.seed))
        label = encode_png(label_map)
        return EncodedExample(self.key, image, "png", label, height, width, pixels)

    def identity(self):
        place = dataclasses.asdict(self.place) | {"shard_path": None}
        common = [self.generation.identity, dataclasses.asdict(self.generation.sizing)]
        return json.dumps([self.key, place, self.seed, common], sort_keys=True)

    def num_bytes(self):
        return self.place.end - self.place.start

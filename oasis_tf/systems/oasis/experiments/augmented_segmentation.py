"""Trains segmentation networks with and without synthetic images (thesis, 4.3.5, table 4.6).

Without, a network is trained on the real training split alone. With them, every batch also has one
synthetic image for each real one, generated from its label map with new noise, so it is twice as
large. All networks are trained on the same real images in the same order, from the same initial
weights and for the same number of steps. The score is the mIoU on the real validation split.
"""

import dataclasses

import keras
import numpy as np

from oasis_tf.data import damage, pipeline
from oasis_tf.io.images import to_uint8
from oasis_tf.io.progress import progress_bar
from oasis_tf.metrics.segmentation import compact_segmenter
from oasis_tf.metrics.segmentation.architectures import Architecture
from oasis_tf.metrics.segmentation.confusion import ConfusionMatrix, frequency_groups
from oasis_tf.metrics.segmentation.evaluators import known_classes

# Published mIoU in percent: none, SPADE, OASIS (thesis, table 4.6).
PUBLISHED = {"cityscapes": (62.7, 62.6, 64.7), "ade20k": (41.0, 41.6, 41.8)}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of the training of a network.

    Attributes:
        architecture: `Architecture`.
        height, width: size of all images.
        steps: optimizer steps.
        batch_size: real images per step; there are as many synthetic ones, if any.
        seed: seed of the initial weights, the order of the images, flips and noise.
        backbone_weights: weights file of DeepLabV3's ResNet-50, or None.

    Raises:
        ValueError: the architecture cannot take images of this size.
    """

    architecture: Architecture
    height: int
    width: int
    steps: int
    batch_size: int
    seed: int = 0
    backbone_weights: str | None = None

    def __post_init__(self):
        multiple = self.architecture.size_multiple
        if self.height % multiple or self.width % multiple:
            raise ValueError(
                f"{self.architecture.name} needs a height and width divisible by {multiple}. "
                f"Received: height={self.height}, width={self.width}. Choose another --network."
            )


class Synthesizer:
    """Generates synthetic images for the label maps of real ones.

    Args:
        model: `OASIS`.
        seed: int; the seed of an image's noise is sampled from it and the position of the real
            image in the stream.
    """

    def __init__(self, model, seed):
        self._model, self._engine, self._seed = model, model.inference_engine(), seed

    def __call__(self, label_map, first):
        """int [B,H,W] -> uint8 [B,H,W,3]; `first` is the stream position of the first map."""
        seeds = [self._seed_at(first + row) for row in range(len(label_map))]
        noise = self._model.sample_noise(seeds, len(seeds))
        return to_uint8(self._engine(label_map, noise).numpy())

    def _seed_at(self, position):
        rng = np.random.default_rng([self._seed, position])
        return int(rng.integers(2**63, dtype=np.int64))


def with_synthetic(image, label_map, synthesizer, first):
    """Appends synthetic images to a batch: uint8 [2B,H,W,3] and int32 [2B,H,W], real ones first.

    Without a synthesizer (None), the batch stays as it is.
    """
    label_map = np.asarray(label_map, np.int32)
    if synthesizer is None:
        return np.asarray(image), label_map
    synthetic = synthesizer(label_map, first)
    return np.concatenate([image, synthetic]), np.concatenate([label_map, label_map])


def train(dataset, recipe, synthesizer=None, description="segmenter"):
    """Trains a segmentation network on the training split.

    Args:
        dataset: `PreparedDataset`.
        recipe: `Recipe`.
        synthesizer: function(label_map, first) -> uint8 images, such as `Synthesizer`; None: only
            real images.
        description: text of the progress bar.

    Returns:
        Keras model: image float32 [B,H,W,3] in [-1, 1] -> logits of the known classes.
    """
    first_known = int(dataset.label_space.has_unknown)
    outputs = dataset.label_space.num_classes - first_known
    network = recipe.architecture.build(outputs, recipe.seed, recipe.backbone_weights)
    network.compile(
        recipe.architecture.optimizer(recipe.steps),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    batches = pipeline.training_batches(
        dataset.data_dir,
        crop_height=recipe.height,
        crop_width=recipe.width,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
    )
    with damage.plain_errors(), progress_bar(recipe.steps, "step", description) as progress:
        for step, (image, label_map) in zip(range(recipe.steps), batches, strict=False):
            first = step * recipe.batch_size
            image, label_map = with_synthetic(image, label_map, synthesizer, first)
            image, target, known = compact_segmenter.prepared(image, label_map, first_known)
            network.train_on_batch(image, target, sample_weight=known)
            progress.update()
    return network


def score(network, dataset, recipe):
    """Evaluates a network on the real validation split.

    Returns:
        dict of scores by name: `miou`, `pixel_accuracy`, and the IoU of groups and classes.
    """
    space = dataset.label_space
    classes = known_classes(space)
    matrix = ConfusionMatrix(space.num_classes, () if not space.has_unknown else (0,))
    batches = pipeline.evaluation_batches(
        dataset.data_dir,
        "val",
        height=recipe.height,
        width=recipe.width,
        batch_size=recipe.batch_size,
    )
    for image, label_map in batches:
        logits = network.predict_on_batch(compact_segmenter.normalized(image))
        prediction = np.argmax(logits, axis=-1).astype(np.int32) + classes[0]
        matrix.update(label_map.numpy(), prediction)
    groups = frequency_groups(np.array(dataset.class_frequency), classes)
    values = matrix.scores("", space.class_names, groups)
    return {name.removeprefix("/"): value for name, value in values.items()}

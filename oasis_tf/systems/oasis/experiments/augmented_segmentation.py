"""Does a segmenter gain from synthetic images? (thesis, section 4.3.5, table 4.6)

A segmentation network is trained on the real training split, alone and with a model's images: at
every step, each real image of the batch is accompanied by one painted from the same label map, with
noise drawn anew, so that the batch is twice as large, half of it synthetic. All networks see the
same real images in the same order, start from the same weights and take as many steps. The score is
the mIoU on the real validation split.
"""

import dataclasses

import keras
import numpy as np

from oasis_tf.data import damage, pipeline
from oasis_tf.io.images import to_uint8
from oasis_tf.io.progress import progress_bar
from oasis_tf.metrics.segmentation import compact_segmenter
from oasis_tf.metrics.segmentation.confusion import ConfusionMatrix, frequency_groups
from oasis_tf.metrics.segmentation.evaluators import known_classes
from oasis_tf.systems.oasis import noise
from oasis_tf.systems.oasis.experiments.segmenters import Architecture

# Published mIoU in percent: none, SPADE, OASIS (thesis, table 4.6).
PUBLISHED = {"cityscapes": (62.7, 62.6, 64.7), "ade20k": (41.0, 41.6, 41.8)}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything besides data and painter that decides a network.

    Attributes:
        architecture: `Architecture`.
        height, width: size of all images.
        steps: optimizer steps.
        batch_size: real images a step; with a painter, as many synthetic ones come along.
        seed: of the initial weights, the order of the images, flips and noise.
        backbone_weights: file of the ResNet-50 of DeepLabV3, or None.

    Raises:
        ValueError: sizes that the architecture cannot take.
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
                f"{self.architecture.name} needs sides divisible by {multiple}. "
                f"Received: height={self.height}, width={self.width}"
            )


class Painter:
    """Paints the companions of real images.

    Args:
        model: `OASIS`.
        seed: int; noise of the image at position p of the stream is that of the p-th int64 drawn
            from it.
    """

    def __init__(self, model, seed):
        self._engine = model.inference_engine()
        self._channels = model.generator.vector_channels
        self._seed = seed

    def __call__(self, label_map, first):
        """uint8 [B,H,W,3] for int [B,H,W]; `first` is the stream position of the first map."""
        vectors = None
        if self._channels:
            seeds = [self._seed_at(first + row) for row in range(len(label_map))]
            vectors = noise.sample_noise(np.array(seeds, np.int64), self._channels)
        return to_uint8(self._engine(label_map, vectors).numpy())

    def _seed_at(self, position):
        rng = np.random.default_rng([self._seed, position])
        return int(rng.integers(2**63, dtype=np.int64))


def with_companions(image, label_map, painter, first):
    """A batch and its synthetic twin: uint8 [2B,H,W,3] and int32 [2B,H,W], the real half first."""
    label_map = np.asarray(label_map, np.int32)
    if painter is None:
        return np.asarray(image), label_map
    synthetic = painter(label_map, first)
    return np.concatenate([image, synthetic]), np.concatenate([label_map, label_map])


def train(dataset, recipe, painter=None, description="segmenter"):
    """Trains a segmentation network on the training split.

    Args:
        dataset: `PreparedDataset`.
        recipe: `Recipe`.
        painter: function(label_map, first) -> uint8 images, as `Painter`; None: real images alone.
        description: for the progress bar.

    Returns:
        Keras model, image float32 [B,H,W,3] in [-1, 1] -> logits over the known classes.
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
            image, label_map = with_companions(image, label_map, painter, first)
            image, target, known = compact_segmenter.prepared(image, label_map, first_known)
            network.train_on_batch(image, target, sample_weight=known)
            progress.update()
    return network


def score(network, dataset, recipe):
    """Scores on the real validation split by name: `miou`, `pixel_accuracy`, groups, classes."""
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

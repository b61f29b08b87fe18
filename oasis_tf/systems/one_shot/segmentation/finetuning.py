"""A segmenter that is fine-tuned on one pair, with and without generated pairs (OSVOS-style).

Batches are doubled by generated pairs, as many as real ones (thesis, section 6.3.4). Standard
augmentation is a flip, a rotation and a zoom (Caelles et al. 2017). The loss is the cross-entropy,
balanced by the areas of the classes.
"""

import dataclasses

import keras
import numpy as np
import scipy.ndimage
import tensorflow as tf

from oasis_tf.environment import usual_settings
from oasis_tf.io.progress import progress_bar
from oasis_tf.metrics.segmentation import compact_segmenter
from oasis_tf.metrics.segmentation.architectures import Architecture

_DEGREES, _ZOOM = 30.0, (0.75, 1.25)

# Row -> whether pairs are augmented the standard way, whether generated pairs are added.
ROWS = {
    "none": (False, False),
    "standard": (True, False),
    "synthetic": (False, True),
    "both": (True, True),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of a fine-tuning.

    Attributes:
        architecture: `Architecture`.
        backbone_weights: weights file of its backbone, or None.
        steps: optimizer steps.
        batch_size: real pairs a step.
        seed: of the weights that are drawn, the choice of pairs and their augmentation.
    """

    architecture: Architecture
    backbone_weights: str | None = None
    steps: int = 500
    batch_size: int = 4
    seed: int = 0

    @property
    def name(self):
        """Of the network, as in names of values."""
        return self.architecture.named(self.backbone_weights)


def standard_augmentation(rng, image, mask):
    """A pair after a flip, a rotation by ±30 degrees and a zoom by 0.75 to 1.25, by chance.

    Beyond the image it is mirrored.

    Args:
        rng: `numpy.random.Generator`.
        image: uint8 [H,W,3].
        mask: uint8 [H,W].
    """
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    angle, zoom = np.radians(rng.uniform(-_DEGREES, _DEGREES)), rng.uniform(*_ZOOM)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    centre = (np.array(mask.shape) - 1) / 2
    where = {"matrix": turn, "offset": centre - turn @ centre, "mode": "mirror"}
    channels = [scipy.ndimage.affine_transform(image[..., c], order=1, **where) for c in range(3)]
    return np.stack(channels, axis=-1), scipy.ndimage.affine_transform(mask, order=0, **where)


def batch(rng, pool, count, standard, synthetic):
    """A batch of pairs: `count` real ones, and with `synthetic` as many generated ones.

    Args:
        rng: `numpy.random.Generator`.
        pool: `Pool`.
        count: int.
        standard: bool, whether all of them are augmented.
        synthetic: bool.

    Returns:
        uint8 [B,H,W,3] and uint8 [B,H,W], the real ones first.
    """
    sources = [(pool.image, pool.mask)] + [(pool.images, pool.masks)] * synthetic
    pairs = []
    for images, masks in sources:
        pairs += [(images[k], masks[k]) for k in rng.integers(len(images), size=count)]
    if standard:
        pairs = [standard_augmentation(rng, *pair) for pair in pairs]
    return tuple(np.stack(part) for part in zip(*pairs, strict=True))


def balanced(mask, num_classes):
    """Weights of pixels by the area of their class in the batch: 1 - share, scaled to the mean 1.

    Args:
        mask: integers of any shape.
        num_classes: int.

    Returns:
        float32 of the shape of `mask`; all 1 where there is but one class.
    """
    share = np.bincount(mask.ravel(), minlength=num_classes) / mask.size
    weights = (1 - share)[mask]
    mean = weights.mean()
    return (weights / mean if mean else np.ones(mask.shape)).astype(np.float32)


@usual_settings()
def fine_tune(pool, recipe, row):
    """Trains a segmenter on the pair of a pool.

    Args:
        pool: `Pool`.
        recipe: `Recipe`.
        row: of `ROWS`.

    Returns:
        Keras model: image float32 [B,H,W,3] in [-1, 1] -> logits [B,H,W,N].
    """
    network = recipe.architecture.build(pool.num_classes, recipe.seed, recipe.backbone_weights)
    network.compile(
        recipe.architecture.optimizer(recipe.steps),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    rng = np.random.default_rng([recipe.seed, list(ROWS).index(row)])
    with progress_bar(recipe.steps, "step", f"{row}, seed {recipe.seed}") as progress:
        for _ in range(recipe.steps):
            image, mask = batch(rng, pool, recipe.batch_size, *ROWS[row])
            weights = balanced(mask, pool.num_classes)
            network.train_on_batch(
                compact_segmenter.normalized(image), mask.astype(np.int32), sample_weight=weights
            )
            progress.update()
    return network


def predict(network, image, height, width):
    """The most likely class of every pixel at another size.

    Args:
        network: what `fine_tune` returned.
        image: uint8 [h,w,3].
        height, width: of the result.

    Returns:
        uint8 [height,width].
    """
    logits = network.predict_on_batch(compact_segmenter.normalized(image[None]))
    if logits.shape[1:3] != (height, width):
        logits = tf.image.resize(logits, (height, width)).numpy()
    return np.argmax(logits[0], axis=-1).astype(np.uint8)

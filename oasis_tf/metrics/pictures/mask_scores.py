"""How well generated masks fit their images: a segmenter is trained on pairs, tested on others.

Trained on generated pairs and tested on the augmented training pair, and the other way round
(thesis, section 6.3.1; the release's numbers where the thesis has none).
"""

import dataclasses

import keras
import numpy as np
from keras import ops

from oasis_tf.environment import usual_settings
from oasis_tf.io.progress import progress_bar
from oasis_tf.metrics.pictures import resnet18
from oasis_tf.metrics.segmentation.confusion import ConfusionMatrix

STEPS = 500
BATCH = 5
TEST_BATCHES = 101
_LEARNING_RATE = 1e-4
_SMOOTH = 1.0  # of the dice loss
_FLIP, _SHIFT = 0.15, 0.3  # probabilities
_SHARES = (0.05, 0.3)  # of a side, that a shift moves


# === Pairs ===


def draw(rng, images, masks, count):
    """Pairs of a pool, drawn with replacement and augmented.

    Args:
        rng: `numpy.random.Generator`.
        images: uint8 [P,H,W,3].
        masks: uint8 [P,H,W], ids of classes.
        count: int.

    Returns:
        uint8 [count,H,W,3] and uint8 [count,H,W].
    """
    pairs = [(images[k], masks[k]) for k in rng.integers(len(images), size=count)]
    pairs = [augmented(rng, *pair) for pair in pairs]
    return tuple(np.stack(part) for part in zip(*pairs, strict=True))


def augmented(rng, image, mask):
    """An image [H,W,3] and a mask [H,W], flipped and shifted with a mirrored margin by chance."""
    both = [image, mask]
    if rng.random() < _FLIP:
        both = [x[:, ::-1] for x in both]
    for axis in (0, 1):
        if rng.random() < _SHIFT:
            margin = int(image.shape[axis] * rng.uniform(*_SHARES))
            forward = rng.random() < 0.5
            both = [shifted(x, axis, margin, forward) for x in both]
    return both


def shifted(x, axis, margin, forward):
    """`x` moved along an axis by `margin` pixels; the margin that opens mirrors what is there."""
    x = np.moveaxis(x, axis, 0)
    if forward:
        x = np.concatenate([x[:margin][::-1], x[: len(x) - margin]])
    else:
        x = np.concatenate([x[margin:], x[len(x) - margin :][::-1]])
    return np.moveaxis(x, 0, axis)


# === Training ===


def loss(truth, logits):
    """Half binary cross-entropy, half dice loss, on sigmoids.

    Args:
        truth: float [B,H,W,N], one-hot.
        logits: float [B,H,W,N].

    Returns:
        scalar.
    """
    entropy = ops.binary_crossentropy(truth, logits, from_logits=True)
    share, axes = ops.sigmoid(logits), (1, 2)
    both = 2 * ops.sum(share * truth, axes) + _SMOOTH
    dice = 1 - both / (ops.sum(share, axes) + ops.sum(truth, axes) + _SMOOTH)
    return (ops.mean(entropy) + ops.mean(dice)) / 2


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A trained segmenter.

    Attributes:
        network: Keras model, float32 [B,H,W,3] in 0..255 -> logits.
        name: of its network, as in names of values.
        digest: of the weights that its encoder began with; "" for seeded ones.
    """

    network: keras.Model
    name: str
    digest: str = ""

    def __call__(self, images):
        """Classes uint8 [B,H,W] of images uint8 [B,H,W,3]."""
        logits = self.network.predict_on_batch(images.astype(np.float32))
        return np.argmax(logits, axis=-1).astype(np.uint8)


@usual_settings()
def train(images, masks, num_classes, *, path=None, steps=STEPS, seed=0, what="segmenter"):
    """Trains the U-Net on a pool of pairs.

    Args:
        images: uint8 [P,H,W,3].
        masks: uint8 [P,H,W], ids of classes.
        num_classes: int N.
        path: torchvision's weights of ResNet-18, or None for seeded ones.
        steps: of 5 pairs.
        seed: of the weights, the order of the pairs and their augmentation.
        what: text of the progress bar.

    Returns:
        `Segmenter`, named `resnet18`, or `resnet18_seeded`; with another number of steps than 500
        the name ends in it.
    """
    network = resnet18.build(*images.shape[1:3], num_classes, seed)
    name, digest = resnet18.load(network, path) if path else (f"{resnet18.NAME}_seeded", "")
    network.compile(keras.optimizers.Adam(_LEARNING_RATE), loss, jit_compile=False)
    rng = np.random.default_rng([seed, 0])
    with progress_bar(steps, "step", what) as progress:
        for _ in range(steps):
            image, mask = draw(rng, images, masks, BATCH)
            network.train_on_batch(image.astype(np.float32), one_hot(mask, num_classes))
            progress.update()
    return Segmenter(network, name if steps == STEPS else f"{name}_{steps}steps", digest)


def one_hot(mask, num_classes):
    """Masks [B,H,W] as float32 [B,H,W,N]."""
    return np.eye(num_classes, dtype=np.float32)[mask]


# === Scores ===


def thresholded_iou(truth, prediction, num_classes):
    """⌈clip(20 (IoU - 0.5), 0, 10)⌉ / 10, mean over the classes of one image.

    A class that neither map has counts 1, and an IoU below 0.5 counts 0.

    Args:
        truth, prediction: integers [H,W].
        num_classes: int.
    """
    values = []
    for k in range(num_classes):
        a, b = truth == k, prediction == k
        union = np.count_nonzero(a | b)
        iou = np.count_nonzero(a & b) / union if union else 1.0
        values.append(np.ceil(np.clip(20 * (iou - 0.5), 0, 10)) / 10)
    return float(np.mean(values))


def score(segmenter, batches, num_classes):
    """Scores on batches of pairs.

    Args:
        segmenter: function, uint8 [B,H,W,3] -> integers [B,H,W].
        batches: iterable of (uint8 [B,H,W,3], uint8 [B,H,W]).
        num_classes: int.

    Returns:
        dict of `miou` and `pixel_accuracy` over all pixels and `thresholded_iou`, the mean over
        images; and a list of the mean IoU of each image.
    """
    matrix, thresholded, by_image = ConfusionMatrix(num_classes), [], []
    for images, masks in batches:
        found = segmenter(images)
        matrix.update(masks, found)
        for truth, prediction in zip(masks, found, strict=True):
            thresholded.append(thresholded_iou(truth, prediction, num_classes))
            one = ConfusionMatrix(num_classes)
            one.update(truth, prediction)
            by_image.append(one.mean_iou())
    values = {
        "miou": matrix.mean_iou(),
        "thresholded_iou": float(np.mean(thresholded)),
        "pixel_accuracy": matrix.pixel_accuracy(),
    }
    return values, by_image

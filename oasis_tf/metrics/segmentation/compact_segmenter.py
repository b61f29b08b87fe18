"""A compact U-Net that segments photographs; it measures the alignment of generated images.

It is trained on the real training images of the data set that is evaluated (published evaluations
take large networks that were trained elsewhere, ICLR 2021, section 4) and kept beside the data,
under a name that hashes all that decides its weights.
"""

import dataclasses
import math

import keras
import numpy as np
from absl import logging
from keras import layers, ops

from oasis_tf.data import damage, pipeline
from oasis_tf.environment import usual_settings
from oasis_tf.io.progress import progress_bar
from oasis_tf.metrics import cache

MIN_STEPS = 400
EPOCHS = 5
SIZE_MULTIPLE = 8


@dataclasses.dataclass(frozen=True)
class SegmenterRecipe:
    """Everything besides the data that decides the weights of a segmenter.

    Attributes:
        height, width: size of the images trained on, multiples of 8.
        steps: optimizer steps.
        batch_size: images a step.
        learning_rate: peak rate of Adam; it warms up over a tenth of the steps and falls to 0 along
            a cosine.
        widths: channels at full, half, quarter … resolution.
        seed: of the initial weights, the order of the images and the flips.
        skip_corrupt: whether records that cannot be used are left out instead of refused.
        version: changes when the code of this module changes the result.
    """

    height: int
    width: int
    steps: int
    batch_size: int = 16
    learning_rate: float = 4e-3
    widths: tuple[int, ...] = (16, 32, 64, 128)
    seed: int = 0
    skip_corrupt: bool = False
    version: int = 1

    def __post_init__(self):
        if self.height % SIZE_MULTIPLE or self.width % SIZE_MULTIPLE:
            raise ValueError(
                f"The segmenter needs sides divisible by {SIZE_MULTIPLE}. "
                f"Received: height={self.height}, width={self.width}"
            )


def default_steps(num_examples, batch_size=SegmenterRecipe.batch_size):
    """Steps for a training split of `num_examples` images: five epochs, at least 400 steps."""
    return max(MIN_STEPS, math.ceil(EPOCHS * num_examples / batch_size))


def build_network(num_outputs, widths, seed):
    """The untrained U-Net.

    Maps images, float32 [B,H,W,3] in [-1, 1], to logits, float32 [B,H,W,num_outputs].
    """
    seeds = iter(range(seed * 1000, (seed + 1) * 1000))

    def conv(x, filters, kernel_size, name, **kwargs):
        initializer = keras.initializers.HeNormal(seed=next(seeds))
        return layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            data_format="channels_last",
            kernel_initializer=initializer,
            name=name,
            **kwargs,
        )(x)

    def block(x, filters, name, strides=1):
        x = conv(x, filters, 3, name, strides=strides, use_bias=False)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
        return layers.Activation("relu", name=f"{name}_relu")(x)

    inputs = keras.Input((None, None, 3), name="image")
    x = block(inputs, widths[0], "stem")
    skips = []
    for i, filters in enumerate(widths[1:]):
        skips.append(x)
        x = block(x, filters, f"down_{i}_a", strides=2)
        x = block(x, filters, f"down_{i}_b")
    for i, skip in reversed(list(enumerate(skips))):
        x = layers.UpSampling2D(2, data_format="channels_last", name=f"up_{i}_repeat")(
            conv(x, widths[i], 1, f"up_{i}_reduce")
        )
        x = block(layers.Add(name=f"up_{i}_add")([x, skip]), widths[i], f"up_{i}")
    return keras.Model(inputs, conv(x, num_outputs, 1, "logits"), name="segmenter")


class Segmenter:
    """A segmentation network with its label space.

    Args:
        network: Keras model, image float32 [B,H,W,3] in [-1, 1] -> logits over the known classes.
        label_space: `LabelSpace` of the data set.
        protocol: what decides its answers, ready for JSON.

    Attributes:
        name: what the names of its scores carry.
        classes: model ids that it tells apart: the known ones.
        notes: sentences for readers of its scores.
    """

    name = "compact"
    notes = (
        "alignment_compact is the mIoU under a small segmenter that was trained on the real "
        "training images; it is not comparable with published mIoU, which large pretrained "
        "segmenters give (--segmenter).",
    )

    def __init__(self, network, label_space, protocol=None):
        self.network = network
        self.label_space = label_space
        self.classes = list(range(int(label_space.has_unknown), label_space.num_classes))
        self.protocol = {"name": self.name} | (protocol or {})

    def segment(self, image):
        """Most likely known class of every pixel.

        Args:
            image: uint8 [B,H,W,3], sides divisible by 8.

        Returns:
            int32 [B,H,W] model ids; never the unknown label.
        """
        logits = self.network.predict_on_batch(normalized(np.asarray(image)))
        return np.argmax(logits, axis=-1).astype(np.int32) + self.classes[0]


def normalized(image):
    """What networks take of uint8 images: float32 in [-1, 1]."""
    return ops.cast(image, "float32") / 127.5 - 1.0


def prepared(image, label_map, first_known):
    """A batch as networks train on it.

    Args:
        image: uint8 [B,H,W,3].
        label_map: integers [B,H,W] in model ids.
        first_known: the lowest model id that is told apart.

    Returns:
        image float32 in [-1, 1], classes int32 [B,H,W] counted from `first_known`, and weights of
        pixels, float32 [B,H,W]: 0 where the class is unknown.
    """
    label_map = ops.cast(label_map, "int32")
    known = ops.cast(label_map >= first_known, "float32")
    return normalized(image), ops.maximum(label_map - first_known, 0), known


def adam(learning_rate, steps):
    """Adam whose rate warms up over a tenth of the steps and falls to 0 along a cosine."""
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=learning_rate, warmup_steps=steps // 10
    )
    return keras.optimizers.Adam(schedule)


@usual_settings()
def train_segmenter(dataset, recipe):
    """Trains a segmenter on the training split.

    Args:
        dataset: `PreparedDataset`.
        recipe: `SegmenterRecipe`.

    Returns:
        Keras model, image [B,H,W,3] in [-1, 1] -> logits over the known classes.
    """
    first_known = int(dataset.label_space.has_unknown)
    network = build_network(
        dataset.label_space.num_classes - first_known, recipe.widths, recipe.seed
    )
    trainer = keras.Model(network.inputs, network.outputs)
    trainer.compile(
        adam(recipe.learning_rate, recipe.steps),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )

    batches = pipeline.training_batches(
        dataset.data_dir,
        crop_height=recipe.height,
        crop_width=recipe.width,
        resize_height=recipe.height,
        resize_width=recipe.width,
        flip=True,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        skip_corrupt=recipe.skip_corrupt,
    ).map(lambda image, label_map: prepared(image, label_map, first_known))
    with damage.plain_errors(), progress_bar(recipe.steps, "step", "train segmenter") as progress:
        count = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: progress.update()
        )
        trainer.fit(
            batches, steps_per_epoch=recipe.steps, shuffle=False, verbose=0, callbacks=[count]
        )
    return network


def segmenter_key(dataset, recipe):
    """A hexadecimal name that changes with all that decides a segmenter: data, labels, recipe."""
    return cache.key(
        {
            "shards": cache.split_digests(dataset, "train"),
            "label_space": dataset.label_space.to_json(),
            "recipe": dataclasses.asdict(recipe),
            "keras": keras.__version__,
        }
    )


def cached_segmenter(dataset, recipe, model_dir):
    """The segmenter of a data set, trained on first use.

    Kept as `segmenters/KEY.keras` in the data directory, or in `model_dir` if that one cannot be
    written.

    Args:
        dataset: `PreparedDataset`.
        recipe: `SegmenterRecipe`.
        model_dir: second place to keep it.

    Returns:
        `Segmenter`.

    Raises:
        ValueError: a kept file cannot be read; the message names it.
    """
    key = segmenter_key(dataset, recipe)
    places = cache.places(dataset, model_dir, "segmenters", f"{key}.keras")
    path = cache.find(places)
    if path is not None:
        network = _read_network(path)
    else:
        logging.info("Training the segmenter on %s: %d steps", dataset.data_dir, recipe.steps)
        network = train_segmenter(dataset, recipe)
        cache.keep(places, network.save)
    used = dataclasses.asdict(recipe)
    protocol = {"digest": key, "recipe": used | {"widths": list(recipe.widths)}}
    return Segmenter(network, dataset.label_space, protocol)


def _read_network(path):
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"The kept segmenter cannot be read: {path} ({error}). "
            "Delete the file to train it again."
        ) from error

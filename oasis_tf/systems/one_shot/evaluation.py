"""SIV-GAN and OSMIS for metrics: samples, training pictures, and views of them as in training."""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from oasis_tf import randomness
from oasis_tf.augmentation import full, reduced
from oasis_tf.io.images import to_uint8
from oasis_tf.metrics.pictures.context import PicturesContext
from oasis_tf.systems.one_shot import source
from oasis_tf.systems.one_shot.loading import load_model

_VIEWS = randomness.named_stream("one_shot/views")


def has(config, data_dir):
    """What models of this configuration have of what metrics need."""
    del data_dir
    return {"training", "scene", "views"} | ({"masks"} if config.model.num_classes else set())


def pictures(model_dir, checkpoint=None, data_dir=None, **options):
    """The `PicturesContext` of a model directory.

    Args:
        model_dir, checkpoint: as in `load_model`.
        data_dir: the pictures; None for those trained on.
        options: further attributes of the context.

    Raises:
        ValueError, OSError: the model or the pictures cannot be read, or they have other classes.
    """
    model = load_model(model_dir, checkpoint)
    config, where = model.config, data_dir or model.config.data.data_dir
    images, masks = training_pairs(config, where)
    return PicturesContext(
        model_dir=model_dir,
        step=int(model.step.numpy()),
        data_dir=os.path.abspath(where),
        images=images,
        masks=masks,
        num_classes=config.model.num_classes,
        sampler=model.sample,
        augmented=lambda count: views(config, images, count),
        **options,
    )


def training_pairs(config, data_dir=None):
    """The training pictures in their training size, and ids of their masks.

    Args:
        config: `Config`.
        data_dir: where they lie; None for what the configuration says.

    Returns:
        uint8 [K,H,W,3]; uint8 [K,H,W] or None.

    Raises:
        ValueError, OSError: as `source.inspect`; there is no place, or the masks have other classes
            than the model.
    """
    if not (data_dir or config.data.data_dir):
        raise ValueError(
            "The model names no pictures that it was trained on. Give them: --data_dir=PICTURE."
        )
    data = dataclasses.replace(config.data, data_dir=data_dir or config.data.data_dir)
    facts = source.inspect(data)
    if facts.num_classes != config.model.num_classes:
        raise ValueError(
            f"The masks of {data.data_dir} must have the classes of the model. Received: "
            f"{facts.num_classes} classes, background included, for {config.model.num_classes}."
        )
    images, masks = source.read(data, facts, config.model.height, config.model.width)
    return images, None if masks is None else source.ids(masks, facts.binary)


def views(config, images, count):
    """Pictures augmented as in training, in turn.

    Args:
        config: `Config`.
        images: uint8 [K,H,W,3].
        count: int.

    Returns:
        uint8 [count,H,W,3].
    """
    training, size = config.training, images.shape[1:3]
    batch = training.batch_size
    turn = np.arange(-(-count // batch) * batch) % len(images)
    if training.augmentation == "none":
        return images[turn[:count]]
    pipe = {"reduced": reduced, "full": full}[training.augmentation]
    made = []
    for k in range(0, len(turn), batch):
        key = randomness.make_key(training.seed, _VIEWS, k)
        found = pipe.draw(key, batch, *size, training.prob_augm)
        image = tf.constant(images[turn[k : k + batch]], tf.float32) / 127.5 - 1
        (changed,), _, _ = pipe.apply(found, [image])
        # Colours and noise of the full augmentation leave [-1, 1], as the discriminator sees them.
        made.append(to_uint8(np.clip(changed.numpy(), -1, 1)))
    return np.concatenate(made)[:count]

"""StyleGAN2 and BigGAN for metrics: samples, training pictures, and pictures that were held out."""

import os

import numpy as np
import tensorflow as tf

from oasis_tf import pretrained
from oasis_tf.io.files import file_sha256
from oasis_tf.io.problems import Problems
from oasis_tf.metrics.pictures.context import PicturesContext
from oasis_tf.systems.few_shot import losses, source
from oasis_tf.systems.few_shot.config import Config
from oasis_tf.systems.few_shot.loading import load_model, load_networks

_LEAST = 2  # pictures that have a covariance
_SHOWN = 5  # names in an error


def has(config, data_dir):
    """What models of this configuration have of what metrics need.

    Args:
        config: `Config`.
        data_dir: folder of held-out pictures, or None.
    """
    found = {"pictures", "walk"} | ({"held_out"} if data_dir else set())
    heads = config.model.has_discriminator and config.adaptation.d_loss == "all"
    return found | ({"heads"} if heads else set())


def pictures(model_dir, checkpoint=None, data_dir=None, **options):
    """The `PicturesContext` of a model directory.

    Args:
        model_dir, checkpoint: as in `load_model`.
        data_dir: folder of pictures that the model was not trained on; or None.
        options: further attributes of the context.

    Raises:
        ValueError, OSError: the model or pictures cannot be read, the training pictures are others
            by now, or are among the held-out ones.
    """
    model_dir = pretrained.find(model_dir)
    config = Config.load(model_dir)
    size = config.model.size
    held_out = None if data_dir is None else read_held_out(model_dir, data_dir, size)
    training = training_pictures(config)
    model = load_model(model_dir, checkpoint)
    return PicturesContext(
        model_dir=model_dir,
        step=int(model.step.numpy()),
        data_dir=os.path.abspath(data_dir or config.data.data_dir),
        images=training,
        masks=None,
        num_classes=0,
        sampler=model.sample,
        held_out=held_out,
        walk=lambda *ends: model.walk(*ends).image,
        head_losses=lambda *images: head_losses(load_networks(model_dir, checkpoint)[0], *images),
        **options,
    )


def training_pictures(config):
    """The training pictures in their training size, uint8 [K,H,W,3].

    Raises:
        ValueError, OSError: the model names none, or they cannot be read or changed.
    """
    if not config.data.data_dir:
        raise ValueError(
            "The model must have been trained here: it names no pictures that it has learnt from. "
            "Received: a converted model. Adapt or train it first."
        )
    reader = source.Reader(config.data, config.pictures, config.model.size)
    return reader.read(range(len(reader)))


def read_held_out(model_dir, data_dir, size):
    """Pictures that the model was not trained on, in its size: uint8 [N,size,size,3].

    Raises:
        ValueError: training pictures are among them, by name or contents; fewer than two; or files
            that cannot be read.
        OSError: the folder or the list of training pictures cannot be read.
    """
    paths, listed = source.find(data_dir), source.listed(model_dir)
    names = {os.path.basename(name) for name in listed.values()}
    known = [path.name for path in paths if path.name in names or file_sha256(path) in listed]
    if known:
        raise ValueError(
            "Held-out pictures must not be among those that the model was trained on, by name or "
            f"contents. Received: {len(known)} of {len(paths)} in {data_dir}: "
            f"{', '.join(known[:_SHOWN])}{' …' if len(known) > _SHOWN else ''}. Move them out of "
            "the folder; or, if others have their names, rename these."
        )
    if len(paths) < _LEAST:
        raise ValueError(
            f"At least {_LEAST} held-out pictures are needed. Received: {len(paths)} in {data_dir}."
        )
    found, problems = [], Problems()
    for path in paths:
        with problems.noted():
            found.append(source.resized(path, size))
    problems.raise_if_any("Pictures that cannot be used")
    return np.stack(found)


def head_losses(model, images, generated):
    """What every head contributes to the losses of discriminator and generator.

    Args:
        model: `FewShot` with all networks, adapted with `d_loss=all`.
        images, generated: uint8 [B,H,W,3], real and generated ones.

    Returns:
        dict of "d" and "g" -> dict of the name of a head -> loss, float, the mean over the images.
    """
    kinds = {"real": images, "fake": generated, "generator": generated}
    means = {kind: _means(model, of, kind) for kind, of in kinds.items()}
    blocks = len(means["fake"]) - 1
    names = [*(f"block_{k + 1}" for k in range(blocks)), "end"]
    return {
        "d": dict(zip(names, (means["real"] + means["fake"]).tolist(), strict=True)),
        "g": dict(zip(names, means["generator"].tolist(), strict=True)),
    }


def _means(model, images, kind):
    """Losses float64 [heads] of images as one kind, means over them.

    Groups of the minibatch standard deviation are whole, or the rest.
    """
    size, total = model.config.model.stddev_group, 0.0
    for k in range(0, len(images), size):
        piece = tf.cast(images[k : k + size], model.dtype) / 127.5 - 1
        logits = model.judge(piece, training=False)
        _, by_head = losses.mean_of_logits(logits, kind, model.settings.loss)
        total += len(piece) * np.array([float(loss) for loss in by_head])
    return total / len(images)

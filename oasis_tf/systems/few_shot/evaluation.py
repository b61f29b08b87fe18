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
_MOST = 1000  # training pictures that images are compared with
_SHOWN = 5  # names in an error


def has(config, data_dir):
    """What models of this configuration have of what metrics need.

    Args:
        config: `Config`.
        data_dir: folder of held-out pictures, or None.
    """
    few = config.pictures.number <= _MOST
    at_hand = config.data.data_dir and os.path.isdir(config.data.data_dir) and few
    judged = config.model.has_discriminator and config.adaptation.d_loss == "all"
    there = {"training": at_hand, "held_out": data_dir, "heads": judged}
    return {"several", "walk"} | {name for name, value in there.items() if value}


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
    read = _read(Config.load(model_dir), model_dir, data_dir)
    model = load_model(model_dir, checkpoint)
    return _context(
        model, model_dir, lambda: load_networks(model_dir, checkpoint)[0], read | options
    )


def of_training(model, model_dir, data_dir, **options):
    """The `PicturesContext` of a model in training; arguments and errors as of `pictures`.

    Args:
        model: `FewShot` with all networks.
    """
    read = _read(model.config, model_dir, data_dir)
    return _context(model, model_dir, lambda: model, read | options)


def _read(config, model_dir, data_dir):
    """The pictures that a model is measured with: attributes of the context."""
    size = config.model.size
    known = source.listed(model_dir) if config.pictures.number else {}
    held_out = read_held_out(data_dir, size, known) if data_dir else None
    training = np.zeros((0, size, size, 3), np.uint8)
    if "training" in has(config, data_dir):
        reader = source.Reader(config.data, config.pictures, size)
        training = reader.read(range(len(reader)))
    where = os.path.abspath(data_dir or config.data.data_dir or ".")
    return {"images": training, "held_out": held_out, "data_dir": where}


def _context(model, model_dir, whole_model, options):
    """The `PicturesContext`; ``whole_model`` gives a `FewShot` with all networks."""
    return PicturesContext(
        model_dir=model_dir,
        step=int(model.step.numpy()),
        masks=None,
        num_classes=0,
        sampler=model.sample,
        walk=lambda *ends: model.walk(*ends).image,
        head_losses=lambda *images: head_losses(whole_model(), *images),
        **options,
    )


def read_held_out(data_dir, size, known):
    """Pictures that the model was not trained on, in its size: uint8 [N,size,size,3].

    Args:
        data_dir: their folder.
        size: side of images.
        known: names of the training pictures by their digests, as of `source.listed`.

    Raises:
        ValueError: training pictures are among them, by name or contents; fewer than two; or files
            that cannot be read.
        OSError: the folder cannot be read.
    """
    paths, names = source.find(data_dir), {os.path.basename(name) for name in known.values()}
    seen = [path.name for path in paths if path.name in names or file_sha256(path) in known]
    if seen:
        raise ValueError(
            "Held-out pictures must not be among those that the model was trained on, by name or "
            f"contents. Received: {len(seen)} of {len(paths)} in {data_dir}: "
            f"{', '.join(seen[:_SHOWN])}{' …' if len(seen) > _SHOWN else ''}. Move them out of "
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

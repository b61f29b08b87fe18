"""StyleGAN2 and BigGAN for metrics: samples, training pictures, and pictures that were held out."""

import os
from pathlib import Path

import numpy as np

from oasis_tf.io.files import file_sha256
from oasis_tf.io.problems import Problems
from oasis_tf.metrics.pictures.context import PicturesContext
from oasis_tf.systems.few_shot import source
from oasis_tf.systems.few_shot.loading import load_model

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
        ValueError, OSError: the model or pictures cannot be read, the training pictures changed, or
            held-out ones are among them.
    """
    config = load_config(model_dir)
    held_out = None if data_dir is None else held_out_pictures(model_dir, data_dir, config)
    training = source.Reader(config.data, config.pictures, config.model.size)
    model = load_model(model_dir, checkpoint)
    return PicturesContext(
        model_dir=model_dir,
        step=int(model.step.numpy()),
        data_dir=os.path.abspath(data_dir or config.data.data_dir),
        images=training.read(range(len(training))),
        masks=None,
        num_classes=0,
        sampler=model.sample,
        held_out=held_out,
        walk=lambda *ends: model.walk(*ends).image,
        head_losses=lambda *images: head_losses(model_dir, checkpoint, *images),
        **options,
    )

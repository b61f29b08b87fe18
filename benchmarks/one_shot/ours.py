"""Our contender's side for SIV-GAN."""

import os
import tempfile
import warnings

LIBRARIES = "oasis_tf.systems.one_shot.task"


def make(setup, arrays, precision, **switches):
    """(run, variables) of a setup; see `benchmarks/settings.py`."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture.png")
        config = new_config(setup, arrays["image"], path, precision, **switches)
        return _step(config) if setup["task"] == "step" else _generate(config, arrays["latents"])


def new_config(setup, picture, path, precision, **switches):
    """The ``Config`` that a setup stands for; writes the picture to a path."""
    from oasis_tf.io import images
    from oasis_tf.systems.one_shot.run_settings import resolve_run

    images.write_png(path, picture)
    given = {"data_dir": path, "batch_size": setup["batch_size"], "steps": 1, **switches}
    given |= {"ch_g": setup["channels"], "ch_d": setup["channels"]}
    given |= {"noise_dim": setup["noise_channels"], "strategy": "none"}
    if setup["task"] == "generate":
        given["lambda_dr"] = 0  # sampling has none, and in training it needs two images
    if precision != "float32":
        given["mixed_precision"] = precision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer blocks of D, on both sides
        return resolve_run(given, None)


def _step(config):
    """(run, variables) of training: the step that `oasis_tf.train` runs."""
    import numpy as np
    import tensorflow as tf

    from oasis_tf.systems.one_shot.task import OneShotTask
    from oasis_tf.training.strategies import make_strategy

    task = OneShotTask(config, make_strategy("none"))
    numbers = tf.constant(np.zeros(config.training.batch_size, np.int32))

    def run(index):
        del index
        float(task.train_step(numbers)["loss_d"])

    return run, task.variables().values()


def _generate(config, latents):
    """(run, variables) of sampling, as users do it."""
    from oasis_tf.systems.one_shot.build import build_model
    from oasis_tf.training.precision import policy

    precision = policy(config.training.mixed_precision)
    model = build_model(config, dtype=precision, training=False)
    model.settle()
    model.fold()

    def run(index):
        model.sample_latents(latents[index % len(latents)])

    return run, model.generator_ema.variables

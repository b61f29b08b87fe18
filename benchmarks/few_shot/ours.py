"""Our contender's side for StyleGAN2 and its adaptation."""

import os
import tempfile

LIBRARIES = "oasis_tf.systems.few_shot.task"


def make(setup, arrays, precision, **switches):
    """(run, variables) of a setup; see `benchmarks/settings.py`."""
    with tempfile.TemporaryDirectory() as folder:
        config = new_config(setup, arrays["images"], folder, precision, **switches)
        if setup["task"] == "generate":
            return _generate(config, arrays["latents"])
        return _step(config, arrays["images"])


def new_config(setup, pictures, folder, precision, **switches):
    """The ``Config`` that a setup stands for; writes the pictures to a folder."""
    from oasis_tf.io import images
    from oasis_tf.systems.few_shot import run_settings, source
    from oasis_tf.systems.few_shot.config import DataConfig
    from oasis_tf.systems.few_shot.model_settings import ModelConfig

    for k, picture in enumerate(pictures):
        images.write_png(os.path.join(folder, f"{k}.png"), picture)
    model = {"size": setup["height"], "channels": tuple(setup["widths"])}
    model |= {"style_dim": setup["noise_channels"], "num_mlp": setup["layers"]}
    given = {"data_dir": folder, "batch_size": setup["batch_size"], "steps": 1, **switches}
    given |= {"strategy": "none", "path_weight": 2.0 if setup["path_every"] else 0.0}
    if setup["path_every"]:
        given["path_every"] = setup["path_every"]
    if precision != "float32":
        given["mixed_precision"] = precision
    adapted = setup["smoothness"] or setup["all_blocks"]
    if adapted:  # from the weights that a new model has
        given |= {"source": "new", "d_loss": "all" if setup["all_blocks"] else "final"}
    if setup["smoothness"]:
        given |= {"lambda_ss": 5.0, "ss_resolution": setup["smoothness"]}
    return run_settings.resolve(
        given | ({} if adapted else model),
        pictures=source.inspect(DataConfig(data_dir=folder), False),
        of_source=ModelConfig(**model) if adapted else None,
    )


def _step(config, pictures):
    """(run, variables) of training: the steps that `oasis_tf.train` runs."""
    import numpy as np
    import tensorflow as tf

    from oasis_tf.systems.few_shot.task import FewShotTask
    from oasis_tf.training.strategies import make_strategy

    task = FewShotTask(config, make_strategy("none"))
    batch = tf.constant(pictures), tf.constant(np.zeros(len(pictures), np.int32))

    def run(index):
        del index
        float(task.train_step(batch)["loss_d"])

    return run, task.variables().values()


def _generate(config, latents):
    """(run, variables) of sampling, as users do it."""
    from oasis_tf.systems.few_shot.build import build_model
    from oasis_tf.training.precision import policy

    model = build_model(config, policy(config.training.mixed_precision), training=False)
    model.settle()

    def run(index):
        model.sample_latents(latents[index % len(latents)])

    return run, model.generator_ema.variables

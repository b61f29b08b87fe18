"""The model of a model directory."""

import numpy as np

from oasis_tf import pretrained
from oasis_tf.systems.oasis.build import build_model, state_variables
from oasis_tf.systems.oasis.config import Config
from oasis_tf.training.named_weights import named_weights
from oasis_tf.training.store import CheckpointStore, assign_all


def load_model(model_dir, checkpoint=None):
    """The ``OASIS`` of a model directory, ready for use: see ``OASIS.load``."""
    model_dir = pretrained.find(model_dir)
    config = Config.load(model_dir)
    store = CheckpointStore(model_dir)
    step, arrays = store.load(checkpoint, config.training.best_metric)
    model = build_model(config)
    assign_all(state_variables(model), completed(arrays), store.path(step))
    statistics, average = store.read(step, "inference"), named_weights(model.generator_ema)
    assign_all({name: average[name] for name in statistics}, statistics, store.path(step))
    return model


def completed(arrays):
    """Arrays of a shipped model as those of a run: averages also stand for what was trained.

    Kernels of half precision become float32.
    """
    for name in ("generator", "encoder"):
        if not any(key.startswith(f"{name}/") for key in arrays):
            averages = {k: v for k, v in arrays.items() if k.startswith(f"{name}_ema/")}
            arrays = arrays | {k.replace("_ema/", "/", 1): v for k, v in averages.items()}
    half = {k: v.astype(np.float32) for k, v in arrays.items() if v.dtype == np.float16}
    return arrays | half

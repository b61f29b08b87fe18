"""The model of a model directory."""

from oasis_tf.io.paths import local_path
from oasis_tf.systems.oasis.build import build_model, state_variables
from oasis_tf.systems.oasis.config import Config
from oasis_tf.training.named_weights import named_weights
from oasis_tf.training.store import CheckpointStore, assign_all


def load_model(model_dir, checkpoint=None):
    """The ``OASIS`` of a model directory, ready for use: see ``OASIS.load``."""
    model_dir = local_path(model_dir)
    config = Config.load(model_dir)
    store = CheckpointStore(model_dir)
    step, arrays = store.load(checkpoint, config.training.best_metric)
    model = build_model(config)
    assign_all(state_variables(model), arrays, store.path(step))
    statistics, average = store.read(step, "inference"), named_weights(model.generator_ema)
    assign_all({name: average[name] for name in statistics}, statistics, store.path(step))
    return model

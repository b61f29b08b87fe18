"""The model of a model directory, ready for use."""

from oasis_tf import pretrained
from oasis_tf.systems.one_shot.build import build_model
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.training.store import CheckpointStore, assign_all


def load_model(model_dir, checkpoint=None):
    """The ``OneShot`` of a model directory: its averaged generator, settled; see ``oasis_tf.load``.

    Raises:
        ValueError, FileNotFoundError: this is not a model directory, or it has no whole checkpoint.
    """
    model_dir = pretrained.find(model_dir)
    config = Config.load(model_dir)
    store = CheckpointStore(model_dir)
    step, arrays = store.load(checkpoint, config.training.best_metric)
    model = build_model(config, training=False)
    assign_all(model.variables(), arrays, store.path(step))
    model.settle()
    return model

"""The model of a model directory."""

from oasis_tf.systems.one_shot.build import build_model
from oasis_tf.systems.one_shot.config import Config
from oasis_tf.training.restoring import restored


def load_model(model_dir, checkpoint=None):
    """The ``OneShot`` of a model directory, for use: its averaged generator, settled and folded.

    Raises:
        ValueError, FileNotFoundError: this is not a model directory, or it has no whole checkpoint.
    """
    model, _ = restored(model_dir, checkpoint, Config, build_model, training=False)
    model.settle()
    model.fold()
    return model


def load_networks(model_dir, checkpoint=None):
    """(``OneShot`` with all networks that there are, step), as they are in a checkpoint."""
    return restored(model_dir, checkpoint, Config, build_model)

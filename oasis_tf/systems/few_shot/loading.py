"""The model of a model directory."""

from oasis_tf.systems.few_shot.build import build_model
from oasis_tf.systems.few_shot.config import Config
from oasis_tf.training.restoring import restored


def load_model(model_dir, checkpoint=None):
    """The ``FewShot`` of a model directory, for use: its averaged generator, and the source's.

    Args:
        model_dir: directory, or name of a shipped model.
        checkpoint: a step, "best", or None for the newest.

    Raises:
        ValueError, FileNotFoundError: this is not a model directory, or it has no whole checkpoint.
    """
    model, _ = restored(model_dir, checkpoint, Config, build_model, training=False)
    model.settle()
    return model


def load_networks(model_dir, checkpoint=None):
    """(``FewShot`` with all networks that there are, step), as they are in a checkpoint."""
    return restored(model_dir, checkpoint, Config, build_model)

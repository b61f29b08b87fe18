"""The model of a model directory."""

from oasis_tf import pretrained
from oasis_tf.systems.few_shot.build import build_model
from oasis_tf.systems.few_shot.config import Config
from oasis_tf.training.store import CheckpointStore, assign_all


def load_model(model_dir, checkpoint=None):
    """The ``FewShot`` of a model directory, for use: its averaged generator, and the source's.

    Args:
        model_dir: directory, or name of a shipped model.
        checkpoint: a step, "best", or None for the newest.

    Raises:
        ValueError, FileNotFoundError: this is not a model directory, or it has no whole checkpoint.
    """
    model, _ = _loaded(model_dir, checkpoint, training=False)
    model.settle()
    return model


def load_networks(model_dir, checkpoint=None):
    """(``FewShot`` with all networks that there are, step), as they are in a checkpoint."""
    return _loaded(model_dir, checkpoint)


def _loaded(model_dir, checkpoint, training=None):
    """(``FewShot``, step); ``training`` None: with the networks that there are."""
    model_dir = pretrained.find(model_dir)
    config = Config.load(model_dir)
    training = config.model.has_discriminator if training is None else training
    store = CheckpointStore(model_dir)
    step, arrays = store.load(checkpoint, config.training.best_metric)
    model = build_model(config, training=training)
    assign_all(model.variables(), arrays, store.path(step))
    return model, step

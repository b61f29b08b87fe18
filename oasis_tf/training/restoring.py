"""Model directories as models, for systems whose models differ in use alone, and new ones."""

from oasis_tf import pretrained
from oasis_tf.io import files
from oasis_tf.training.store import CheckpointStore, assign_all


def restored(model_dir, checkpoint, config_class, build_model, training=None):
    """A model with the weights of a checkpoint.

    Args:
        model_dir: directory, or name of a shipped model.
        checkpoint: a step, "best", or None for the newest.
        config_class: class of its configuration.
        build_model: function ``config, training=bool -> model``, which has ``variables()``.
        training: bool, whether it has all networks of training, or those for use; None: all, if
            the configuration has a discriminator.

    Returns:
        (the model, step of the checkpoint).

    Raises:
        ValueError, FileNotFoundError: this is not a model directory, or it has no whole checkpoint.
    """
    model_dir = pretrained.find(model_dir)
    config = config_class.load(model_dir)
    training = config.model.has_discriminator if training is None else training
    store = CheckpointStore(model_dir)
    step, arrays = store.load(checkpoint, config.training.best_metric)
    model = build_model(config, training=training)
    assign_all(model.variables(), arrays, store.path(step))
    return model, step


def write_model_dir(model_dir, config, arrays, inference=None):
    """Writes a model directory whose only checkpoint is of step 0, whole or not at all.

    Args:
        model_dir: new model directory.
        config: its configuration.
        arrays, inference: as in ``CheckpointStore.save``.

    Raises:
        OSError: it cannot be written.
    """
    with files.folder_written_aside(model_dir) as aside:
        CheckpointStore(aside).save(0, arrays, inference or {})
        config.save(aside)

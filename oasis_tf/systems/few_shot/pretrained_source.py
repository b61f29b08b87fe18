"""The model that is adapted: another model directory of this system, or a published checkpoint."""

import os

from oasis_tf.settings.run_config import CONFIG_FILE
from oasis_tf.training.named_weights import named_weights
from oasis_tf.training.store import CheckpointStore, assign_all


def model_settings(source):
    """The ``ModelConfig`` of a source.

    Args:
        source: path of a model directory or a checkpoint.

    Raises:
        ValueError: it is a model of another system, has no discriminator, or cannot be read.
        OSError: it does not exist.
    """
    return _read(source)[0]


def fill(model):
    """Gives the networks of a ``FewShot`` the weights of its source.

    Generator and frozen source get those that ``source_weights`` names, the average those of the
    source's average.

    Raises:
        ValueError, OSError: as ``model_settings``, or weights do not fit.
    """
    adaptation = model.config.adaptation
    _, arrays = _read(adaptation.source)
    chosen = {"g": "generator", "g_ema": "generator_ema"}[adaptation.source_weights]
    for target, of in (
        ("generator", chosen),
        ("source", chosen),
        ("generator_ema", "generator_ema"),
        ("discriminator", "discriminator"),
    ):
        weights = named_weights(model.networks()[target])
        assign_all(weights, _of(arrays, of), adaptation.source)
    for modulation in model.modulations.values():
        modulation.start()


def _read(source):
    """(``ModelConfig``, arrays by "network/name") of a source."""
    if not os.path.exists(source):
        raise FileNotFoundError(
            f"`source` must be a model directory or a checkpoint. Not found: {source}."
        )
    if os.path.isfile(os.path.join(source, CONFIG_FILE)):
        settings, arrays = _of_model_dir(source)
    else:
        from oasis_tf.systems.few_shot.official import sources  # formats of other programs

        settings, arrays = sources.read(source)
    if not settings.has_discriminator:
        raise ValueError(
            "A model that is adapted must have its discriminator. Received: source="
            f"{source}, which has a generator alone. Without one, `convert` makes a model that "
            "samples; to adapt, give a checkpoint with `d`."
        )
    return settings, arrays


def _of_model_dir(path):
    from oasis_tf import systems
    from oasis_tf.systems.few_shot.config import Config

    system = systems.of_model_dir(path)
    if system.config is not Config:
        raise ValueError(
            "`source` must be a model of the system few_shot. Received: "
            f"{path}, of the system {system.name}."
        )
    config = Config.load(path)
    _, arrays = CheckpointStore(path).load(None, config.training.best_metric)
    return config.model, arrays


def _of(arrays, network):
    """Arrays of a network by their names within it."""
    start = f"{network}/"
    return {name[len(start) :]: x for name, x in arrays.items() if name.startswith(start)}

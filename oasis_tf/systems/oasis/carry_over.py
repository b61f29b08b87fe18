"""The first checkpoint of a run that starts from another model's weights (`--init_from`).

Weights that depend on classes are carried over class by class, all others as they are, averages
too. What the other model does not have is as it was drawn: rows of other classes, networks,
optimizers, the step. u and v of spectral norms are carried over with their kernels.
"""

import numpy as np

from oasis_tf.layers.class_rows import carried_over, class_rows
from oasis_tf.systems.oasis.build import networks, state_variables
from oasis_tf.systems.oasis.loading import completed
from oasis_tf.systems.oasis.source_model import SourceModel
from oasis_tf.training.named_weights import named_weights
from oasis_tf.training.store import CheckpointStore


def first_checkpoint(config, model):
    """Arrays of step 0, as ``CheckpointStore.save`` takes them.

    The averaged generator keeps the batch statistics that the other model is used with: at step 0
    it generates what that one does.

    Args:
        config: ``Config`` of the run.
        model: its compiled ``OASIS`` of freshly drawn weights, which stays as it is.

    Returns:
        ``(training, inference, report)``: two mappings from names to arrays, and a line that says
        what was carried over.

    Raises:
        ValueError, OSError: the other model cannot be read, or has weights of other forms.
    """
    source = SourceModel.find(config.training.init_from, config.training.init_step)
    source.check(config)
    store, sources = CheckpointStore(source.path), source.sources(config)
    others = completed(store.read(source.step, "training"))
    training = {name: variable.numpy() for name, variable in state_variables(model).items()}
    taken = source.networks(config.model.encoder)
    for network, weights in networks(model).items():
        if network.removesuffix("_ema") in taken:
            for key, variable in named_weights(weights).items():
                name, rows = f"{network}/{key}", class_rows(variable)
                other = others.get(name, np.zeros(0))
                if rows and other.size:
                    other = carried_over(training[name], other, rows, sources)
                if other.shape != training[name].shape:
                    raise ValueError(
                        f"{store.path(source.step)} does not fit its config.json: {name} is "
                        f"missing or has a wrong shape. Received: {other.shape} for "
                        f"{training[name].shape}."
                    )
                training[name] = other
    return training, store.read(source.step, "inference"), source.report(config)

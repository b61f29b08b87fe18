"""Weights of a network by name: what checkpoints, conversion and export agree on."""

import contextlib

_STATE = ("u", "v", "moving_mean", "moving_variance")


def named_weights(network):
    """Variables of a network by their names within it, such as ``block_0/conv_0/kernel``.

    A network that consists of others has ``named_parts``, a mapping from names to networks; the
    names of its variables start with the part's: ``scale_0/...``.
    """
    parts = getattr(network, "named_parts", None)
    if parts is not None:
        return {
            f"{part}/{name}": variable
            for part, inner in parts.items()
            for name, variable in named_weights(inner).items()
        }
    return {variable.path.split("/", 1)[1]: variable for variable in network.variables}


def forward_state(network):
    """The variables that a training forward pass moves: u, v and batch statistics, by name."""
    return {
        name: variable
        for name, variable in named_weights(network).items()
        if name.rpartition("/")[2] in _STATE
    }


@contextlib.contextmanager
def borrowed_state(network, arrays=None):
    """Lets the block change a network's forward state, and puts it back.

    Args:
        network: Keras model.
        arrays: mapping from names of ``forward_state`` to what the block starts with; default: the
            state as it is.
    """
    state = forward_state(network)
    before = {name: variable.numpy() for name, variable in state.items()}
    try:
        for name, array in (arrays or {}).items():
            state[name].assign(array)
        yield
    finally:
        for name, variable in state.items():
            variable.assign(before[name])

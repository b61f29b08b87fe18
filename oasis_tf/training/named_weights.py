"""Weights of a network by name: what checkpoints, conversion and export agree on."""

import contextlib

import numpy as np

_STATE = ("u", "v", "sigma", "moving_mean", "moving_variance", "accumulations")


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
    """The variables that a training forward pass moves: u, v, batch statistics …, by name."""
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


def fill(network, state_dict, name_of, layout_of):
    """Fills a network from weights of other names and layouts.

    Args:
        network: Keras model.
        state_dict: mapping from their names to NumPy arrays.
        name_of: function of a name -> ours, None if unused; ValueError if it is unknown.
        layout_of: function of a name and its array -> the array in our layout.

    Raises:
        ValueError: entries are missing, unknown, of other shapes, contradictory or not finite. The
            error lists all of them; nothing is assigned.
    """
    weights, found, problems = named_weights(network), {}, []
    for name, array in state_dict.items():
        try:
            target = name_of(name)
        except ValueError as error:
            problems.append(str(error))
            continue
        if target is None:
            continue
        value = layout_of(name, array)
        problem = _misfit(name, target, value, weights, found)
        if problem:
            problems.append(problem)
        found[target] = name, value
    problems += [f"{name} is missing." for name in weights if name not in found]
    if problems:
        raise ValueError("These weights do not fit the network:\n  " + "\n  ".join(problems))
    for target, (_, value) in found.items():
        weights[target].assign(value)


def _misfit(name, target, value, weights, found):
    """Returns why an entry does not fit the network, or None if it does."""
    if target not in weights:
        return f"{name} ({target}) has no place in this network."
    want = tuple(weights[target].shape)
    if value.shape != want:
        return f"{name} must become {want}. Received: {value.shape}."
    if not np.isfinite(value).all():
        return (
            f"{name} must be finite. Received: {np.sum(~np.isfinite(value))} values that are not."
        )
    # Sums over the same tensor may differ by their order.
    tolerance = {"rtol": 1e-3, "atol": 1e-3 * np.abs(value).max()}
    first, other = found.get(target, (name, value))
    if np.shape(other) == want and not np.allclose(value, other, **tolerance):
        return f"{name} must equal {first}: both stand for one weight here."
    return None

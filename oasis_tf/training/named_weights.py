"""Weights of a network by name: what checkpoints, conversion and export agree on."""

from oasis_tf.systems.oasis.models.multi_scale import MultiScale

_STATE = ("u", "v", "moving_mean", "moving_variance")


def named_weights(network):
    """Variables of a network by their names within it, such as ``block_0/conv_0/kernel``.

    Those of ``MultiScale`` start with their scale: ``scale_0/...``.
    """
    if isinstance(network, MultiScale):
        return {
            f"scale_{scale}/{name}": variable
            for scale, part in enumerate(network.discriminators)
            for name, variable in named_weights(part).items()
        }
    return {variable.path.split("/", 1)[1]: variable for variable in network.variables}


def forward_state(network):
    """The variables that a training forward pass moves: u, v and batch statistics, by name."""
    return {
        name: variable
        for name, variable in named_weights(network).items()
        if name.rsplit("/", 1)[1] in _STATE
    }

"""Moving averages of whole networks: kernels, u, v and batch statistics."""

from oasis_tf.layers.fusion import fused


def average_of(network, name):
    """A copy of a network, of the same weights, that no gradient trains.

    Args:
        network: Keras model that is built.
        name: str, of the copy.
    """
    average = network.from_config(network.get_config() | {"name": name})
    average.trainable = False
    average.set_weights(network.get_weights())
    return average


def update_averages(pairs, decay):
    """Moves averages towards their networks; called by every replica in its step.

    Args:
        pairs: (average, network) pairs, as of ``average_of``.
        decay: float in [0, 1), share of the average that stays.
    """
    update_average_variables(
        [
            pair
            for averages, network in pairs
            for pair in zip(averages.variables, network.variables, strict=True)
        ],
        decay,
    )


def update_average_variables(pairs, decay):
    """As ``update_averages``, of (average, variable) pairs of Keras variables."""
    import tensorflow as tf  # here: copies of networks are made on other backends, too

    variables = [(average.value, variable.value) for average, variable in pairs]

    def update(average, value):
        # The share of the new value is subtracted here: in float32, 1 - 0.9999 has four digits.
        shares = (tf.constant(share, average.dtype) for share in (decay, 1 - decay))
        return average.assign(_weighted_sum(average, value, *shares))

    def update_all(strategy):
        for average, variable in variables:
            strategy.extended.update(average, update, args=(variable,), group=False)

    tf.distribute.get_replica_context().merge_call(update_all)


@fused
def _weighted_sum(a, b, share_a, share_b):
    return share_a * a + share_b * b

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
        decay: float in [0, 1), share of the average that stays; or float64 scalar, of this replica.
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

    given = (decay,) if tf.is_tensor(decay) else ()

    def update(average, value, own=decay):
        # The share of the new value is subtracted here: in float32, 1 - 0.9999 has four digits.
        typed = tf.cast if tf.is_tensor(own) else tf.constant
        shares = (typed(share, average.dtype) for share in (own, 1 - own))
        return average.assign(_weighted_sum(average, value, *shares))

    def update_all(strategy, *given):
        for average, variable in variables:
            strategy.extended.update(average, update, args=(variable, *given), group=False)

    tf.distribute.get_replica_context().merge_call(update_all, args=given)


def warmed_up(decay, step):
    """The decay at a step (0 is the first): ``min(decay, (1 + step) / (10 + step))``, float64.

    So an average forgets the first weights, as TensorFlow's ``ExponentialMovingAverage`` with
    ``num_updates``.
    """
    import tensorflow as tf

    step = tf.cast(step, tf.float64)
    return tf.minimum(tf.constant(decay, tf.float64), (1 + step) / (10 + step))


@fused
def _weighted_sum(a, b, share_a, share_b):
    return share_a * a + share_b * b

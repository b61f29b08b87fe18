"""Smoothness similarity, L_SS: latents move the features of both generators alike.

For a random direction y in feature space the gradient of <G(z), y> by z is compared between source
and target (Sushko et al. 2023, equation 2). Nothing above the features is computed.
"""

import tensorflow as tf


def jacobian_product(feature, z, direction):
    """Gradient j of <features, y> by latents, row by row, [B, Z].

    Samples do not interact, so that one scalar for the batch gives the rows.

    Args:
        feature: function of latents [B, Z] -> features [B, r, r, C].
        z: float [B, Z].
        direction: float [B, r, r, C], y.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(z)
        product = tf.reduce_sum(tf.cast(feature(z), z.dtype) * tf.cast(direction, z.dtype))
    return tape.gradient(product, z)


def distances(j_source, j_target, eps):
    """Lengths [B] of the differences of rows, with ``eps`` under the root."""
    squares = tf.reduce_sum(tf.square(j_source - j_target), axis=-1)
    return tf.sqrt(squares + eps)


def smoothness_similarity(source, target, z, direction, eps):
    """The mean distance of both gradients; only the target's weights get a gradient.

    Args:
        source, target: functions of latents -> features.
        z, direction: as of ``jacobian_product``, the same for both.
        eps: float.
    """
    j_source = tf.stop_gradient(jacobian_product(source, z, direction))
    return tf.reduce_mean(distances(j_source, jacobian_product(target, z, direction), eps))

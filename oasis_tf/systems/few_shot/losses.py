"""Losses and penalties as functions of networks' outputs; sections of Karras et al. 2020."""

import tensorflow as tf

from oasis_tf.layers.replicas import mean_over_replicas
from oasis_tf.training import adversarial


def mean_of_logits(logits, of, loss):
    """(mean over heads, loss of every head) of lists of logits; see ``adversarial.of_logits``.

    A head counts once, however many logits it has (L_all).
    """
    found = adversarial.of_logits(logits, of, loss)
    return tf.add_n(found) / len(found), found


def gradient_penalty(image, judge):
    """R1 of every image (Mescheder et al. 2018): the squared length of D's gradient.

    Args:
        image: float [B, H, W, 3].
        judge: function of images -> list of logits [B, ...]. A sample's score is the mean over the
            list of the mean of its logits.

    Returns:
        float [B].
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(image)
        logits = judge(image)
        means = [tf.reduce_mean(x, axis=range(1, len(x.shape))) for x in logits]
        score = tf.reduce_sum(tf.add_n(means)) / len(means)
    gradient = tape.gradient(score, image)
    return tf.reduce_sum(tf.square(gradient), axis=(1, 2, 3))


def path_gradient(generator, rows, noise, direction):
    """Gradient of <image, y> by the rows of styles (section 3.2).

    Args:
        generator: StyleGAN2's.
        rows: float [B, N, S].
        noise: as of its ``synthesis``.
        direction: float [B, H, W, 3], normal, y before it is divided by the side.

    Returns:
        float [B, N, S].
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(rows)
        image = tf.cast(generator.synthesis(rows, noise).image, rows.dtype)
        side = image.shape[1] * image.shape[2]
        product = tf.reduce_sum(image * tf.cast(direction, rows.dtype)) / side**0.5
    return tape.gradient(product, rows)


def path_lengths(gradient):
    """Path lengths [B] of gradients float [B, N, S]."""
    return tf.sqrt(tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=2), axis=1))


def path_penalty(lengths, mean, decay):
    """(penalty, new mean) of path lengths.

    Args:
        lengths: float [B], those of this replica.
        mean: scalar, the average before.
        decay: float, the share of the new mean.
    """
    new = mean + decay * (mean_over_replicas(tf.reduce_mean(lengths)) - mean)
    return tf.reduce_mean(tf.square(lengths - new)), new

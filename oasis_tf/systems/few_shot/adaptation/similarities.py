"""Losses of similarities between samples: CDC's distance consistency, and MixDL.

Rows of similarities become probabilities by a softmax, which are compared by their Kullback-Leibler
divergence. Its mean is over all entries (PyTorch's default reduction), not over rows.
"""

import tensorflow as tf

_EPS = 1e-8


def cosines(a, b):
    """Cosines [A, B] between rows of features [A, ...] and [B, ...]."""
    a, b = (tf.reshape(x, (x.shape[0], -1)) for x in (a, b))
    lengths = tf.norm(a, axis=1)[:, None] * tf.norm(b, axis=1)[None]
    return tf.matmul(a, b, transpose_b=True) / tf.maximum(lengths, _EPS)


def _without_diagonal(x):
    """[B, B] -> [B, B - 1], without every row's own entry."""
    count = x.shape[0]
    kept = [[j for j in range(count) if j != i] for i in range(count)]
    return tf.gather(x, tf.constant(kept), axis=1, batch_dims=1)


def between_samples(features, layers):
    """Cosines [B, B - 1] of every sample with all others, at a layer of its own.

    Args:
        features: list of [B, h, w, C].
        layers: int [B], which entry of the list counts for a sample.
    """
    found = tf.stack([_without_diagonal(cosines(x, x)) for x in features], axis=1)
    return tf.gather(found, layers, axis=1, batch_dims=1)


def between_mixed(mixed, plain, layers):
    """Cosines [B, B] of every mixed sample with the plain ones, at a layer of its own.

    Args:
        mixed, plain: lists of [B, ...].
        layers: int [B].
    """
    found = tf.stack([cosines(a, b) for a, b in zip(mixed, plain, strict=True)], axis=1)
    return tf.gather(found, layers, axis=1, batch_dims=1)


def divergence(target_logits, logits):
    """Mean over all entries of p (log p - log q), p and q softmaxes of rows."""
    log_p, log_q = tf.nn.log_softmax(target_logits), tf.nn.log_softmax(logits)
    return tf.reduce_mean(tf.exp(log_p) * (log_p - log_q))

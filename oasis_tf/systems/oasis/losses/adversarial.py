"""Losses of discriminators with one real-or-fake logit: hinge and binary cross-entropy.

Logits may have any shape and belong to one scale. The caller averages over scales.
"""

from keras import ops


def hinge_real_loss(logits):
    """D's loss on real images, ``mean(max(0, 1 - logits))``: a scalar."""
    return ops.mean(ops.relu(1 - logits))


def hinge_fake_loss(logits):
    """D's loss on generated images, ``mean(max(0, 1 + logits))``: a scalar."""
    return ops.mean(ops.relu(1 + logits))


def hinge_generator_loss(logits):
    """G's loss on D's logits of generated images, ``-mean(logits)``: a scalar."""
    return -ops.mean(logits)


def binary_loss(logits, target):
    """Binary cross-entropy with logits, ``mean(-log(sigmoid(logits)))`` for ``target`` 1.

    Args:
        logits: float, any shape.
        target: 1 (real) or 0 (fake), a number or a tensor that broadcasts to ``logits``.

    Returns:
        a scalar, finite for all finite logits.
    """
    sign = 1 - 2 * ops.cast(target, logits.dtype)
    return ops.mean(ops.softplus(sign * logits))

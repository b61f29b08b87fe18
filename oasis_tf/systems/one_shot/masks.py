"""Masks in training: channels, hard values, sizes, and weights by area."""

from keras import ops

from oasis_tf.layers.replicas import sum_over_replicas

_LEAST = 0.001  # probability of a class, and of none


def channels(values, num_classes, binary, dtype):
    """Masks as the files have them, as channels.

    Args:
        values: uint8 [B, H, W], ids or, if ``binary``, the share of the one object in 255.
        num_classes: int N.
        binary: bool.
        dtype: of the result.

    Returns:
        float [B, H, W, N], the background first.
    """
    if not binary:
        return ops.one_hot(ops.cast(values, "int32"), num_classes, dtype=dtype)
    share = ops.cast(values, dtype) / 255
    return ops.stack([1 - share, share], axis=-1)


def downsampled(mask, factor):
    """Every ``factor``-th row and column, from the first on: [B, H, W, N] -> [B, h, w, N]."""
    return mask[:, ::factor, ::factor]


def drawn(soft, uniform, kind="channel"):
    """Hard masks drawn from soft ones, [B, h, w, N] of zeros and ones.

    Args:
        soft: float [B, h, w, N], probabilities.
        uniform: float [B, h, w, N] in [0, 1).
        kind: "channel", every channel for itself, so that a position may have several classes or
            none; "pixel", one class for every position, by the first channel of ``uniform``.
    """
    uniform = ops.cast(uniform, soft.dtype)
    if kind == "channel":
        return ops.cast(uniform < ops.clip(soft, _LEAST, 1 - _LEAST), soft.dtype)
    below = ops.cumsum(soft, axis=-1)[..., :-1] <= uniform[..., :1]
    number = ops.sum(ops.cast(below, "int32"), axis=-1)
    return ops.one_hot(number, soft.shape[-1], dtype=soft.dtype)


def largest(soft):
    """Hard masks of the most probable class, [B, h, w, N] of zeros and ones."""
    return ops.one_hot(ops.argmax(soft, axis=-1), soft.shape[-1], dtype=soft.dtype)


def straight_through(soft, hard):
    """The values of hard masks with the gradient of soft ones."""
    return hard - ops.stop_gradient(soft) + soft


def inverse_areas(mask):
    """1 / area of every class in the global batch, [N], without gradient; 0 where there is none.

    Args:
        mask: float [B, H, W, N] at full size.
    """
    area = sum_over_replicas(ops.sum(ops.stop_gradient(mask), axis=(0, 1, 2)))
    return ops.where(area > 0, 1 / ops.where(area > 0, area, 1), 0)


def small_hard_mask(soft, factor, uniform, warm, kind="channel", full=False):
    """What the discriminator sees of generated masks.

    Args:
        soft: float [B, H, W, N].
        factor: int, how many times smaller the result is.
        uniform: float in [0, 1), [B, h, w, N]; if ``full`` [B, H, W, N].
        warm: bool or bool scalar, whether hard masks are drawn; else they are the largest.
        kind: as of ``drawn``.
        full: bool, whether masks become hard before they become small.

    Returns:
        float [B, h, w, N] with the gradient of ``soft``.
    """
    soft = soft if full else downsampled(soft, factor)
    if isinstance(warm, bool):
        hard = drawn(soft, uniform, kind) if warm else largest(soft)
    else:
        hard = ops.where(warm, drawn(soft, uniform, kind), largest(soft))
    hard = straight_through(soft, ops.stop_gradient(hard))
    return downsampled(hard, factor) if full else hard

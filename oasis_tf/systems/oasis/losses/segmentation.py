"""Losses of a discriminator that segments into N classes and "fake" (ICLR 2021, eq. 1-3)."""

from keras import ops

from oasis_tf.layers.replicas import num_replicas, sum_over_replicas
from oasis_tf.systems.oasis.losses.chunked import ChunkedLogits, head_accuracy, head_cross_entropy

FAKE = 0  # channel of the discriminator's logits that stands for "fake"


def class_counts(label_map, num_classes):
    """Pixels per class over the global batch: int32 [N] for an int ``label_map`` [B, H, W]."""
    flat = ops.cast(ops.reshape(label_map, (-1,)), "int32")
    counts = ops.segment_sum(ops.ones_like(flat), flat, num_segments=num_classes)
    return sum_over_replicas(counts)


def class_weights(label_map, num_classes, has_unknown, dtype="float32", balanced=True):
    """Weight of every class in ``real_loss``; by default ``alpha_k = B*H*W / (present * c_k)``.

    ``present`` is the number of known classes in the global batch (the official release divides by
    it, the paper's equation does not). Absent classes and, if ``has_unknown``, class 0 have weight
    0. If all pixels are unknown, all weights are 0, without a division by zero.

    ``balanced=False`` is the ablation without balancing: every class has weight 1, present or not.
    The unknown class still has weight 0, because nothing says what its pixels should look like.

    Returns:
        float [N].
    """
    known = ops.cast(ops.arange(num_classes) > 0, dtype)
    if not balanced:
        return known if has_unknown else ops.ones_like(known)
    counts = ops.cast(class_counts(label_map, num_classes), dtype)
    if has_unknown:
        counts = counts * known
    present = ops.sum(ops.cast(counts > 0, dtype))
    height, width = ops.shape(label_map)[1:3]
    pixels = ops.cast(ops.shape(label_map)[0] * height * width, dtype) * num_replicas()
    weights = pixels / (ops.maximum(present, 1) * ops.maximum(counts, 1))
    return ops.where(counts > 0, weights, ops.zeros_like(weights))


def cross_entropy(logits, channel):
    """Softmax cross-entropy per pixel [B, H, W] of logits [B, H, W, N+1], int channel [B, H, W]."""
    return ops.sparse_categorical_crossentropy(channel, logits, from_logits=True)


def real_loss(logits, label_map, weights):
    """Weighted (N+1)-class cross-entropy of pixels towards their label: a scalar.

    ``mean(weights[label] * CE(logits, label + 1))`` over B, H, W; ``weights`` [N] from
    ``class_weights``. D uses it for real images, G for generated ones. Here and below, ``logits``
    are [B, H, W, N+1] or ``ChunkedLogits``.
    """
    label_map = ops.cast(label_map, "int32")
    weights = ops.take(weights, label_map, axis=0)
    if isinstance(logits, ChunkedLogits):
        return head_cross_entropy(*logits.parts, label_map + 1, weights)
    return ops.mean(weights * cross_entropy(logits, label_map + 1))


def fake_loss(logits):
    """Cross-entropy of pixels towards "fake", ``mean(CE(logits, 0))``: a scalar."""
    if isinstance(logits, ChunkedLogits):
        channel = _fake_channel(logits.features)
        return head_cross_entropy(*logits.parts, channel, ops.ones_like(channel, logits.dtype))
    return ops.mean(cross_entropy(logits, _fake_channel(logits)))


def _fake_channel(pixels):
    return ops.zeros(ops.shape(pixels)[:-1], dtype="int32") + FAKE


def accuracy(logits, channel):
    """Share of pixels whose largest logit is that of ``channel``, int or int [B, H, W]."""
    if isinstance(logits, ChunkedLogits):
        channel = ops.zeros(ops.shape(logits.features)[:-1], dtype="int32") + channel
        return head_accuracy(*logits.parts, channel)
    return ops.mean(ops.cast(ops.equal(ops.argmax(logits, axis=-1), channel), logits.dtype))

"""Losses of OASIS as pure functions of logits and label maps (ICLR 2021, section 3; eq. 1-4).

All means are over the pixels this replica holds; class counts are over the global batch. With
equally many examples on every replica, the mean of the replicas' losses is the global batch's.
"""

from keras import ops

from oasis_tf.layers.replicas import num_replicas, sum_over_replicas

FAKE = 0  # channel of the discriminator's logits that stands for "fake"


def class_counts(label_map, num_classes):
    """Pixels per class over the global batch: int32 [N] for an int ``label_map`` [B, H, W]."""
    flat = ops.cast(ops.reshape(label_map, (-1,)), "int32")
    counts = ops.segment_sum(ops.ones_like(flat), flat, num_segments=num_classes)
    return sum_over_replicas(counts)


def class_weights(label_map, num_classes, has_unknown, dtype="float32"):
    """Balancing weight of every class, ``alpha_k = B*H*W / (present * c_k)``.

    ``present`` is the number of known classes in the global batch (the official release divides by
    it, the paper's equation does not). Absent classes and, if ``has_unknown``, class 0 weigh 0; a
    batch of unknown pixels alone therefore weighs nothing, without a division by zero.

    Returns:
        float [N].
    """
    counts = ops.cast(class_counts(label_map, num_classes), dtype)
    if has_unknown:
        counts = counts * ops.cast(ops.arange(num_classes) > 0, dtype)
    present = ops.sum(ops.cast(counts > 0, dtype))
    height, width = ops.shape(label_map)[1:3]
    pixels = ops.cast(ops.shape(label_map)[0] * height * width, dtype) * num_replicas()
    weights = pixels / (ops.maximum(present, 1) * ops.maximum(counts, 1))
    return ops.where(counts > 0, weights, ops.zeros_like(weights))


def cross_entropy(logits, channel):
    """Softmax cross-entropy per pixel [B, H, W] of logits [B, H, W, N+1], int channel [B, H, W]."""
    return ops.sparse_categorical_crossentropy(channel, logits, from_logits=True)


def real_loss(logits, label_map, weights):
    """Balanced (N+1)-class loss of pixels that should look like their label: a scalar.

    ``mean(weights[label] * CE(logits, label + 1))`` over B, H, W; ``weights`` [N] from
    ``class_weights``. Used for real images by D and for generated ones by G.
    """
    label_map = ops.cast(label_map, "int32")
    per_pixel = cross_entropy(logits, label_map + 1)
    return ops.mean(ops.take(weights, label_map, axis=0) * per_pixel)


def fake_loss(logits):
    """Loss of pixels that should be called fake, ``mean(CE(logits, 0))``: a scalar."""
    return ops.mean(cross_entropy(logits, ops.zeros(ops.shape(logits)[:-1], dtype="int32") + FAKE))


def labelmix_mask(label_map, bits, dtype="float32"):
    """LabelMix mask [B, H, W, 1]: 1 where the class of the pixel drew bit 1 (real), else 0 (fake).

    Args:
        label_map: int [B, H, W].
        bits: [N] of zeros and ones, one fair bit per class, the same for the whole batch.
    """
    mask = ops.take(ops.cast(bits, dtype), ops.cast(label_map, "int32"), axis=0)
    return ops.expand_dims(mask, -1)


def mix(mask, real, fake):
    """``mask * real + (1 - mask) * fake``."""
    return mask * real + (1 - mask) * fake


def labelmix_loss(logits_of_mix, mask, logits_real, logits_fake):
    """Consistency of D with mixing (eq. 4), ``mean((D(mix) - mix(D(real), D(fake)))**2)``.

    The mean is over B, H, W and the N+1 channels; the gradient flows through both terms.
    """
    return ops.mean(ops.square(logits_of_mix - mix(mask, logits_real, logits_fake)))

"""Consistency of the discriminator with mixing: LabelMix (ICLR 2021, eq. 4) and CutMix."""

from keras import ops


def labelmix_mask(label_map, bits, dtype="float32"):
    """LabelMix mask [B, H, W, 1]: 1 where the class of the pixel drew bit 1 (real), else 0 (fake).

    Args:
        label_map: int [B, H, W].
        bits: zeros and ones, one fair bit per class: [N], the same for the whole batch, or [B, N],
            every image its own.
    """
    bits, label_map = ops.cast(bits, dtype), ops.cast(label_map, "int32")
    if len(bits.shape) == 2:
        batch, num_classes = ops.shape(bits)
        first = ops.arange(batch, dtype="int32") * num_classes
        label_map = label_map + ops.reshape(first, (-1, 1, 1))
        bits = ops.reshape(bits, (-1,))
    return ops.expand_dims(ops.take(bits, label_map, axis=0), -1)


def mix(mask, real, fake):
    """``mask * real + (1 - mask) * fake``."""
    return mask * real + (1 - mask) * fake


def labelmix_loss(logits_of_mix, mask, logits_real, logits_fake):
    """Consistency of D with mixing (eq. 4), ``mean((D(mix) - mix(D(real), D(fake)))**2)``.

    The same for LabelMix and CutMix, which differ in the mask.

    Args:
        logits_of_mix, logits_real, logits_fake: [B, H, W, C].
        mask: [B, H, W, 1], 1 where the mixed image is real.

    Returns:
        a scalar; the mean is over B, H, W and C, the gradient flows through both terms.
    """
    return ops.mean(ops.square(logits_of_mix - mix(mask, logits_real, logits_fake)))

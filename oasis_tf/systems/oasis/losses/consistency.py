"""Consistency of the discriminator under mixing: LabelMix (ICLR 2021, eq. 4) and CutMix."""

from keras import ops

from oasis_tf.systems.oasis.losses.chunked import ChunkedLogits, head_labelmix_loss


def labelmix_mask(label_map, bits, dtype="float32"):
    """LabelMix mask [B, H, W, 1]: the bit of every pixel's class, 1 for real and 0 for fake.

    Args:
        label_map: int [B, H, W].
        bits: zeros and ones, one fair random bit per class: [N], shared by the batch, or [B, N],
            separate for every image.
    """
    bits, label_map = ops.cast(bits, dtype), ops.cast(label_map, "int32")
    if len(bits.shape) == 2:
        batch, num_classes = ops.shape(bits)
        first = ops.arange(batch, dtype="int32") * num_classes
        label_map = label_map + ops.reshape(first, (-1, 1, 1))
        bits = ops.reshape(bits, (-1,))
    return ops.expand_dims(ops.take(bits, label_map, axis=0), -1)


def cutmix_mask(draws, height, width, dtype="float32"):
    """CutMix mask [B, H, W, 1]: a box of ones on zeros, inverted for half of the images.

    As in Schönfeld et al. 2020 ("A U-Net Based Discriminator for GANs"): lambda ~ Beta(1, 1), which
    is uniform. The box has ``sqrt(1 - lambda)`` times the height and width of the image. Its centre
    is uniform over the image, and the part outside the image is cut off. A pixel is in the box if
    its centre is. On average the box covers 77/240 = 0.32 of the image, and ones cover half of it.

    Args:
        draws: float [B, 4], uniform in [0, 1): lambda, height and width of the centre, inversion.
        height, width: int H, W.
    """
    side, rows, columns, coin = ops.split(ops.cast(draws, "float32"), 4, axis=1)
    side = ops.sqrt(1 - side)
    inside_rows = _inside(height, rows, side)
    inside_columns = _inside(width, columns, side)
    box = ops.logical_and(ops.expand_dims(inside_rows, 2), ops.expand_dims(inside_columns, 1))
    mask = ops.logical_xor(box, ops.expand_dims(coin < 0.5, 2))
    return ops.cast(ops.expand_dims(mask, -1), dtype)


def _inside(size, centre, side):
    """bool [B, size]: is a pixel in the interval? ``centre`` and ``side`` are fractions of 1."""
    pixels = (ops.arange(size, dtype="float32") + 0.5) / size
    return ops.abs(pixels - centre) < side / 2


def mix(mask, real, fake):
    """``mask * real + (1 - mask) * fake``."""
    return mask * real + (1 - mask) * fake


def labelmix_loss(logits_of_mix, mask, logits_real, logits_fake):
    """Consistency of D under mixing (eq. 4), ``mean((D(mix) - mix(D(real), D(fake)))**2)``.

    LabelMix and CutMix use the same loss with different masks.

    Args:
        logits_of_mix, logits_real, logits_fake: [B, H, W, C], or all three ``ChunkedLogits`` with
            the same kernel and bias.
        mask: [B, H, W, 1], 1 where the mixed image is real.

    Returns:
        a scalar, the mean over B, H, W and C. The gradient flows through both terms.
    """
    if isinstance(logits_of_mix, ChunkedLogits):
        features = logits_of_mix.features, mask, logits_real.features, logits_fake.features
        return head_labelmix_loss(*features, logits_of_mix.kernel)
    return ops.mean(ops.square(logits_of_mix - mix(mask, logits_real, logits_fake)))

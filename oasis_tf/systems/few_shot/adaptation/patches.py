"""CDC's patch discriminator: heads at single convolutions inside StyleGAN2's blocks."""

import tensorflow as tf

from oasis_tf.systems.few_shot.networks import judged

LEAST_SIZE = 64  # of images, whose discriminator has all maps


def places(size):
    """The four maps, as keys of ``Judged.convs``, by the index of their head.

    Args:
        size: int, side of images, at least ``LEAST_SIZE``.
    """
    to_32 = size.bit_length() - 6  # number of the block from 64x64 to 32x32
    return [(to_32, "conv2"), (to_32 + 1, "conv1"), (to_32 + 1, "conv2"), (to_32 + 2, "conv1")]


def channels(widths):
    """Channels of the four maps, of StyleGAN2's table of widths."""
    return [widths[side] for side in (32, 32, 16, 16)]


def logits(discriminator, heads, image, index):
    """Logits [B, h, w, 1] of images at one of the maps.

    Args:
        discriminator: StyleGAN2's.
        heads: ``Heads`` of the first maps; with one of them ``index`` is not looked at.
        image: float [B, H, W, 3].
        index: int scalar.
    """
    found = places(discriminator.size)[: len(heads.heads)]

    def at(number):
        place = found[number]
        made = judged(discriminator, image, convs=[place], until=place[0])
        return heads.heads[number](made.convs[place])

    if len(found) == 1:
        return at(0)
    # Means over positions count: maps of 16x16 are repeated to 32x32.
    return tf.switch_case(index, [lambda k=k: _repeated(at(k)) for k in range(len(found))])


def _repeated(x, side=32):
    times = side // x.shape[1]
    return x if times == 1 else tf.repeat(tf.repeat(x, times, axis=1), times, axis=2)

"""CDC's patch discriminator: heads at single convolutions inside StyleGAN2's blocks."""

import tensorflow as tf

from oasis_tf.systems.few_shot.networks import judged


def places(size):
    """The four maps, as keys of ``Judged.convs``, by the index of their head.

    Args:
        size: int, side of images, at least 64.
    """
    to_32 = size.bit_length() - 6  # number of the block from 64x64 to 32x32
    return [(to_32, "conv2"), (to_32 + 1, "conv1"), (to_32 + 1, "conv2"), (to_32 + 2, "conv1")]


def channels(widths):
    """Channels of the four maps, of StyleGAN2's table of widths."""
    return [widths[side] for side in (32, 32, 16, 16)]


def at(discriminator, heads, image, number):
    """Logits [B, h, w, 1] of images [B, H, W, 3] at one of the maps.

    Args:
        discriminator: StyleGAN2's.
        heads: ``Heads`` of the first maps.
        image: float [B, H, W, 3].
        number: int, the index of the map.
    """
    place = places(discriminator.size)[number]
    made = judged(discriminator, image, convs=[place], until=place[0])
    return heads.heads[number](made.convs[place])


def logits(discriminator, heads, image, index):
    """As ``at``, with a map that is drawn: ``index`` is an int scalar, all maps have 32x32 logits.

    Means over positions count, so maps of 16x16 are repeated.
    """
    numbers = range(len(heads.heads))
    if len(numbers) == 1:
        return at(discriminator, heads, image, 0)
    return tf.switch_case(
        index, [lambda k=k: _repeated(at(discriminator, heads, image, k)) for k in numbers]
    )


def _repeated(x, side=32):
    times = side // x.shape[1]
    return x if times == 1 else tf.repeat(tf.repeat(x, times, axis=1), times, axis=2)

"""Widths and resolutions of BigGAN's blocks (Brock et al. 2019, appendix B)."""

from typing import NamedTuple

RESOLUTIONS = (32, 64, 128, 256)
START = 4  # side of the first map

# Multiples of the width `ch`: of the first map and after every block.
_GENERATOR = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}
# After every block; the first block takes the image.
_DISCRIMINATOR = {
    32: (4, 4, 4, 4),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
}
# At 32x32 the published code places attention as if every block gave this side.
_NOMINAL_SIDE_32 = 16


class GeneratorBlockSize(NamedTuple):
    """A block of the generator: channels, and the side of its output."""

    in_channels: int
    out_channels: int
    side: int


class DiscriminatorBlockSize(NamedTuple):
    """A block of the discriminator.

    Attributes:
        in_channels, out_channels: ints.
        halves: bool, whether it halves the sides.
        nominal_side: int, by which attention is placed: the side of its output, but at 32x32.
    """

    in_channels: int
    out_channels: int
    halves: bool
    nominal_side: int


def generator_blocks(resolution, ch):
    """List of ``GeneratorBlockSize`` in order."""
    widths = [ch * multiple for multiple in _of(_GENERATOR, resolution)]
    return [
        GeneratorBlockSize(a, b, START * 2 ** (k + 1))
        for k, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
    ]


def discriminator_blocks(resolution, ch):
    """List of ``DiscriminatorBlockSize`` in order."""
    widths = [3, *(ch * multiple for multiple in _of(_DISCRIMINATOR, resolution))]
    last = 8 if resolution == 32 else START
    sizes, side = [], resolution
    for a, b in zip(widths, widths[1:], strict=False):
        halves, side = side > last, max(side // 2, last)
        nominal = _NOMINAL_SIDE_32 if resolution == 32 else side
        sizes.append(DiscriminatorBlockSize(a, b, halves, nominal))
    return sizes


def latent_chunk(resolution, dim_z):
    """Length of the part of z that the first layer takes, and every block.

    Raises:
        ValueError: z is too short.
    """
    slots = len(_of(_GENERATOR, resolution))
    if dim_z < slots:
        raise ValueError(
            f"`dim_z` must be at least {slots} at {resolution}x{resolution}: the first layer and "
            f"every block take a part of z. Received: dim_z={dim_z}."
        )
    return dim_z // slots


def used_dim_z(resolution, dim_z):
    """Length of z: ``dim_z`` without what does not divide into equal parts."""
    return latent_chunk(resolution, dim_z) * len(_of(_GENERATOR, resolution))


def _of(table, resolution):
    if resolution not in table:
        raise ValueError(
            f"The resolution of BigGAN must be one of {RESOLUTIONS}. Received: {resolution}."
        )
    return table[resolution]

"""Sizes and depths that follow from the size of the pictures. Nothing here needs TensorFlow."""

import dataclasses
import math
import warnings

MOST_BLOCKS_D = 8
_BLOCKS_G = range(5, 10)
# (blocks of D, low-level blocks among them) by blocks of G.
_BLOCKS_D = {5: (6, 2), 6: (7, 3), 7: (7, 3), 8: (7, 4), 9: (8, 4)}
_SIDES = (48, 1792)  # the smallest and the largest side that some depth fits


class ImageSize:
    """Sides of images, by the size of the generator's first map and its blocks."""

    @property
    def height(self) -> int:
        """Returns the height of images."""
        return self.grid_height << (self.blocks_g - 1)

    @property
    def width(self) -> int:
        """Returns the width of images."""
        return self.grid_width << (self.blocks_g - 1)


@dataclasses.dataclass(frozen=True)
class Sizes(ImageSize):
    """Sizes and depths of the networks.

    Attributes:
        grid_height, grid_width: size of the generator's first map.
        blocks_g: blocks of the generator.
        blocks_d: blocks of the discriminator in all.
        blocks_d0: low-level blocks among them.
    """

    grid_height: int
    grid_width: int
    blocks_g: int
    blocks_d: int
    blocks_d0: int


def automatic_sizes(
    height: int, width: int, max_size: int, blocks_g: int = 0, blocks_d: int = 0, blocks_d0: int = 0
) -> Sizes:
    """Returns the sizes and depths for pictures of a size.

    Args:
        height, width: of the pictures.
        max_size: most pixels of a side in training.
        blocks_g, blocks_d, blocks_d0: depths; 0: automatic. Where the automatic discriminator
            halves the image more often than its smaller side allows, it gets fewer blocks, and a
            warning says so.

    Raises:
        ValueError: no depth fits the pictures, or a given one does not.
    """
    received = f"{height}x{width} (height x width)"
    height, width = capped(height, width, max_size)
    blocks_g = blocks_g or _depth(height, width, received, max_size)
    # Python rounds halves to even, as the release does.
    grid = [round(side / 2 ** (blocks_g - 1)) for side in (height, width)]
    if min(grid) < 1:
        raise ValueError(
            f"Pictures must not be that much longer than they are wide. Received: {received}; with "
            f"{blocks_g} blocks of the generator the first map would be {grid[0]}x{grid[1]}. Crop "
            "the long side, or give fewer --num_blocks_g."
        )
    n, low = _discriminator(min(grid) << (blocks_g - 1), blocks_g, blocks_d, blocks_d0)
    return Sizes(*grid, blocks_g, n, low)


def capped(height: int, width: int, max_size: int) -> tuple[int, int]:
    """Returns (height, width), in proportion, with sides of at most `max_size`."""
    h, w = float(height), float(width)
    if w > max_size:
        h, w = h / (w / max_size), float(max_size)
    if h > max_size:
        h, w = float(max_size), w / (h / max_size)
    return int(h), int(w)


def _depth(height: int, width: int, received: str, max_size: int) -> int:
    """Returns the smallest depth whose first map, or that of a smaller one, has sides 3 to 7."""
    for blocks in _BLOCKS_G:
        depths = range(_BLOCKS_G[0], blocks + 1)
        if all(any(3 <= side / 2 ** (d - 1) <= 7 for d in depths) for side in (height, width)):
            return blocks
    raise ValueError(
        f"Both sides of the pictures must have {_SIDES[0]} to {_SIDES[1]} pixels, after "
        f"--max_size={max_size}. Received: {received}, in training {height}x{width}. Enlarge or "
        "crop the pictures, or change --max_size."
    )


def _discriminator(side: int, blocks_g: int, blocks_d: int, blocks_d0: int) -> tuple[int, int]:
    """Returns (blocks, low-level blocks) of D for images whose smaller side is `side`."""
    n, low = _BLOCKS_D.get(blocks_g, _BLOCKS_D[5 if blocks_g < 5 else 9])
    most = min(int(math.log2(side)), MOST_BLOCKS_D)
    low = blocks_d0 or min(low, blocks_g)
    if blocks_d > most:
        raise ValueError(
            f"`num_blocks_d` must be at most {most}, because every block halves the image, whose "
            f"smaller side is {side}, and there are {MOST_BLOCKS_D} at most. Received: "
            f"num_blocks_d={blocks_d}."
        )
    if not blocks_d and n > most:
        warnings.warn(
            f"The discriminator has {most} blocks instead of {n}: every block halves the image, "
            f"whose smaller side is {side}.",
            stacklevel=2,
        )
    n = blocks_d or min(n, most)
    if not low < n or low > blocks_g:
        raise ValueError(
            "`num_blocks_d0` must be less than the number of the discriminator's blocks, and at "
            f"most that of the generator's. Received: num_blocks_d0={low} with {n} blocks of the "
            f"discriminator and {blocks_g} of the generator."
        )
    return n, low

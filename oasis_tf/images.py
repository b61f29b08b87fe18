"""Images leaving the program: 8-bit values, PNG files, contact sheets."""

import numpy as np
from PIL import Image

from oasis_tf import files

GAP = 2


def to_uint8(image):
    """Images in [-1, 1] as 8-bit values, uint8 of the same shape, rounded to the nearest."""
    return np.clip(np.round((np.asarray(image) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def write_png(path, image):
    """Writes uint8 [H, W, 3] as a PNG file."""
    with files.written_aside(path) as aside:
        Image.fromarray(image).save(aside)


def contact_sheet(rows):
    """One picture of many, with white gaps of 2 pixels between the tiles.

    Args:
        rows: list of lists of uint8 [H, W, 3], all of one size and all lists of one length.

    Returns:
        uint8 [rows * (H + 2) - 2, columns * (W + 2) - 2, 3].
    """
    gaps = [(0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)]
    tiles = np.pad(np.array(rows), gaps, constant_values=255)
    count, columns, height, width, channels = tiles.shape
    sheet = tiles.transpose(0, 2, 1, 3, 4).reshape(count * height, columns * width, channels)
    return sheet[:-GAP, :-GAP]

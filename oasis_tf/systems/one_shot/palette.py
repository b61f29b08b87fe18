"""Colours of masks: the palette of PASCAL VOC and DAVIS."""

import numpy as np
from PIL import Image

from oasis_tf.io.images import contact_sheet

_BITS = 8


def colours():
    """The 256 colours uint8 [256, 3]: 0 black, 1 (128, 0, 0), 2 (0, 128, 0), 3 (128, 128, 0), …

    Bit ``3 k + c`` of a number is bit ``7 - k`` of its channel c.
    """
    numbers = np.arange(256)[:, None]
    channels = np.arange(3)[None]
    found = np.zeros((256, 3), np.int64)
    for k in range(_BITS):
        found |= (numbers >> (3 * k + channels) & 1) << (_BITS - 1 - k)
    return found.astype(np.uint8)


def picture(mask):
    """A mask uint8 [H, W] as a Pillow image with this palette."""
    image = Image.fromarray(mask)  # grey; the palette makes indices of it
    image.putpalette(colours().ravel().tolist())
    return image


def sheet(masks):
    """Masks uint8 [B, H, W] side by side, in colours, uint8 [h, w, 3]."""
    return contact_sheet([list(colours()[masks])])

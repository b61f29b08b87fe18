"""Text on pictures: captions over the columns of a contact sheet, a legend of colours below it."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from oasis_tf.io.images import GAP

HEIGHT = 18  # of a line of captions
_SIZES = range(14, 6, -1)  # of text, in pixels, the largest that fits
_INK, _PAPER = (0, 0, 0), (255, 255, 255)
_LEGEND_SIZE, _SWATCH, _SPACE = 10, 9, 4


def with_captions(sheet, captions):
    """Puts a line of text over every column of a contact sheet.

    Args:
        sheet: uint8 [H, W, 3], of `images.contact_sheet`, with as many columns as captions.
        captions: list of str.

    Returns:
        uint8 [HEIGHT + H, W, 3].
    """
    step = (sheet.shape[1] + GAP) // len(captions)
    fonts = [ImageFont.load_default(size) for size in _SIZES]
    fits = (f for f in fonts if max(map(f.getlength, captions)) <= step - 4 * GAP)
    font = next(fits, fonts[-1])
    line = Image.new("RGB", (sheet.shape[1], HEIGHT), _PAPER)
    draw = ImageDraw.Draw(line)
    for column, caption in enumerate(captions):
        middle = column * step + (step - GAP - font.getlength(caption)) / 2
        draw.text((max(column * step, middle), 0), caption, _INK, font)
    return np.concatenate([np.asarray(line), sheet])


def with_legend(sheet, entries):
    """Puts a legend under a picture: swatches of colours and their names, in columns.

    Args:
        sheet: uint8 [H, W, 3].
        entries: list of (name, (red, green, blue)).

    Returns:
        uint8 [H + h, W, 3].
    """
    font = ImageFont.load_default(_LEGEND_SIZE)
    widest = max(font.getlength(name) for name, _ in entries)
    step = int(_SWATCH + 3 * _SPACE + widest)
    columns = max(1, sheet.shape[1] // step)
    height, rows = _LEGEND_SIZE + _SPACE, -(-len(entries) // columns)
    legend = Image.new("RGB", (sheet.shape[1], rows * height + _SPACE), _PAPER)
    draw = ImageDraw.Draw(legend)
    for index, (name, color) in enumerate(entries):
        left, top = index % columns * step, index // columns * height + _SPACE
        draw.rectangle((left, top, left + _SWATCH, top + _SWATCH), tuple(color), _INK)
        draw.text((left + _SWATCH + _SPACE, top - 1), name, _INK, font)
    return np.concatenate([sheet, np.asarray(legend)])

"""Reads and writes images: photographs, PNG files, contact sheets, animations."""

import io
import math
import os
import struct

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, features

from oasis_tf.io import files
from oasis_tf.io.image_arrays import checked_images

GAP = 2
ANIMATIONS = ("gif", "webp")
_PALETTE_PIXELS = 2**18  # most pixels from which a palette is computed


def to_uint8(image):
    """Converts images to uint8 of the same shape.

    Floats in [-1, 1] are rounded to the nearest value. Those beyond are clipped, for resampling
    may leave the range a little.

    Raises:
        ValueError: floats beyond 2 in size, which are of another range; integers outside 0...255,
            which otherwise stay as they are.
    """
    image = np.asarray(image)
    if image.dtype.kind in "iu":
        return checked_images(image)
    if image.size and np.abs(image).max() > 2:
        return checked_images(image)  # refuses them
    return np.clip(np.round((np.asarray(image) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def write_png(path, image, text=None):
    """Writes uint8 [H, W, 3] as a PNG file. For `text` see `save_png`."""
    save_png(path, Image.fromarray(image), text)


def save_png(path, picture, text=None):
    """Writes a Pillow image as a PNG file, whole or not at all.

    Args:
        path: path of the file; its folder is created if needed.
        picture: `PIL.Image.Image`.
        text: dict of str to str, written as text chunks; or None.
    """
    chunks = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        chunks.add_text(key, value)
    with files.written_aside(path) as aside:
        picture.save(aside, pnginfo=chunks)


def encode_png(values, compress_level=-1):
    """Encodes uint8 [H, W, 3] or [H, W], or uint16 [H, W], as a PNG file (bytes).

    `compress_level` is zlib's: -1 is its default, 1 is fast, for files that are read only once.
    """
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG", compress_level=compress_level)
    return file.getvalue()


def png_bit_depth(head):
    """Returns the bits per channel of a PNG file from its first 25 bytes or more."""
    return head[24]


def read_texts(path):
    """Reads the text chunks of a PNG file as a dict. Pixels are not read.

    Raises:
        ValueError: this is not a PNG file.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return {key: value for key, value in image.info.items() if isinstance(value, str)}
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"Cannot be read as a PNG file: {path} ({error})") from error


def read_photograph(path):
    """Reads an image file of any usual format as uint8 [H, W, 3], rotated as its EXIF data say.

    Raises:
        ValueError: the file cannot be read or decoded, or the image is not opaque.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"Cannot be read as an image: {path} ({error})") from error
    if alpha is not None and alpha.getextrema()[0] < 255:
        raise ValueError(f"{path} is transparent in places; a photograph must be opaque.")
    return pixels


def resize_image(image, height, width):
    """Resizes uint8 [H, W, 3] to [height, width, 3] as in training: bicubic, antialiased."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def contact_sheet(rows):
    """Arranges images as tiles of one image, with white gaps of 2 pixels.

    Args:
        rows: list of lists of uint8 [H, W, 3]. Smaller tiles and shorter rows are padded with
            white.

    Returns:
        uint8 [rows * (H + 2) - 2, columns * (W + 2) - 2, 3].
    """
    sizes = [np.shape(tile)[:2] for row in rows for tile in row]
    height, width = np.max(sizes, axis=0) + GAP
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * height, columns * width, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            top, left = i * height, j * width
            sheet[top : top + len(tile), left : left + tile.shape[1]] = tile
    return sheet[:-GAP, :-GAP]


def image_grid(images, columns=None):
    """Arranges images in a grid, row by row, with white gaps of 2 pixels.

    Args:
        images: PIL images, or arrays [H, W, 3] as `to_uint8` takes them: a list, or [B, H, W, 3].
        columns: int; default: the smallest square that holds all.

    Returns:
        `PIL.Image.Image`, RGB.

    Raises:
        ValueError: no images, images of other shapes, no columns.
    """
    tiles = [
        np.asarray(image.convert("RGB")) if isinstance(image, Image.Image) else to_uint8(image)
        for image in images
    ]
    shapes = [tile.shape for tile in tiles]
    if not tiles or any(len(shape) != 3 or shape[-1] != 3 for shape in shapes):
        raise ValueError(
            "`images` must be at least one image [H, W, 3]: a list, or an array [B, H, W, 3]. "
            f"Received: {len(tiles)} of the shapes {sorted(set(shapes))}."
        )
    columns = math.ceil(math.sqrt(len(tiles))) if columns is None else columns
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1. Received: columns={columns}.")
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    return Image.fromarray(contact_sheet(rows))


def check_animation(path):
    """Checks that `write_animation` can write a path.

    Raises:
        ValueError: the suffix is neither .gif nor .webp, or Pillow was built without WebP.
    """
    kind = os.path.splitext(path)[1].lower().lstrip(".")
    if kind not in ANIMATIONS:
        raise ValueError(f"An animation must be a .gif or .webp file. Received: {path}")
    if kind == "webp" and not features.check("webp"):
        raise ValueError(f"This Pillow cannot write WebP: {path}. Take .gif, or another Pillow.")


def write_animation(path, frames, frame_ms=100):
    """Writes frames as an animation that loops forever.

    Args:
        path: .gif (256 colours, the same for all frames) or .webp (lossless).
        frames: list of uint8 [H, W, 3] of equal size.
        frame_ms: int, milliseconds per frame; GIF stores hundredths of a second.

    Raises:
        ValueError: see `check_animation`.
    """
    check_animation(path)
    webp = os.fspath(path).lower().endswith(".webp")
    first, *rest = map(Image.fromarray, frames) if webp else _with_one_palette(frames)
    options = {"save_all": True, "append_images": rest, "duration": frame_ms, "loop": 0}
    options |= {"lossless": True} if webp else {}
    with files.written_aside(path) as aside:
        first.save(aside, **options)


def _with_one_palette(frames):
    """Returns Pillow images of 256 colours. No dithering, or unchanged pixels would flicker."""
    pixels = np.concatenate([frame.reshape(-1, 3) for frame in frames])
    pixels = pixels[:: 1 + len(pixels) // _PALETTE_PIXELS]
    palette = Image.fromarray(pixels[None]).quantize(256, kmeans=2)
    none = Image.Dither.NONE
    return [Image.fromarray(frame).quantize(palette=palette, dither=none) for frame in frames]

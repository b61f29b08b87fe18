"""What the pixels of a label file are: class ids or colours, by one rule for every format.

Class ids stand in one channel (grey of 1 to 16 bits, integers of 32 bits, indices of a palette), or
in several channels that leave no doubt: equal ones, with an opaque alpha channel or without.
Colours stand in a palette, in RGB or in opaque RGBA.
"""

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from oasis_tf.io import images, png_checksums

FILE_FORMATS = ("PNG", "BMP", "TIFF")
SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
_OTHER_FORMATS = ("JPEG", "WEBP", "GIF")  # opened, so that they can be refused by name
_DEEP_MODES = ("I;16", "I;16B", "I")
_ONE_CHANNEL = ("1", "L", "P", *_DEEP_MODES)
_COLOURS = ("P", "RGB", "RGBA")
_MODES = (*_ONE_CHANNEL, "LA", "RGB", "RGBA")
_LOSSY = ("jpeg", "tiff_jpeg", "webp")  # compressions of TIFF


class LabelPicture(NamedTuple):
    """The pixels of a label file.

    Attributes:
        name: of the file, for errors.
        mode: Pillow's mode.
        depth: bits per channel in the file.
        pixels: array [H, W] or [H, W, channels].
        palette: uint8 [256, 3] of mode P, else None.
    """

    name: str
    mode: str
    depth: int
    pixels: np.ndarray
    palette: np.ndarray | None

    @property
    def may_hold_colours(self):
        """Whether these can be the colours of a palette."""
        return self.mode in _COLOURS


def read(source, name=None):
    """Reads a label file, turned as its EXIF data say.

    Args:
        source: path, or bytes of the file.
        name: of the file, for errors; default: the path.

    Returns:
        `LabelPicture`.

    Raises:
        ValueError: the file is unreadable or damaged (checksums of PNG are checked), of a format
            that does not keep values, or has channels that hold neither ids nor colours.
    """
    name = str(name or source)
    with _decoding(name):
        contents = source if isinstance(source, bytes) else Path(source).read_bytes()
    picture = _opened(io.BytesIO(contents), name)
    depth = _depth(picture, contents)
    with _decoding(name):
        if picture.format == "PNG":
            png_checksums.check(contents)
        picture.load()
    picture = images.upright(picture)
    palette = None
    if picture.mode == "P":
        palette = np.zeros((256, 3), np.uint8)  # decoders show missing entries as black
        entries = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(entries)] = entries
    return LabelPicture(name, picture.mode, depth, np.asarray(picture), palette)


def size(source, name=None, *, decode=False):
    """(width, height) of a label file by its head alone; see `images.upright_size`.

    Raises:
        ValueError: as `read`, as far as the head tells.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with contextlib.closing(_opened(file, name or source)) as picture:
        return images.upright_size(picture, decode=decode)


def ids(picture):
    """The class ids of a `LabelPicture`, integers [H, W].

    Raises:
        ValueError: the file holds colours, transparent pixels, or channels that lost bits.
    """
    mode, pixels = picture.mode, picture.pixels
    if mode == "L":
        # Pillow stretches grey of 2 or 4 bits to 0…255; the ids are the values in the file.
        return pixels // {2: 85, 4: 17}.get(picture.depth, 1)
    if mode in _ONE_CHANNEL:
        return pixels if mode == "P" else pixels.astype(np.int32)
    if not is_grey(picture):
        colour = pixels[(pixels[..., 1:3] != pixels[..., :1]).any(-1)][0]
        raise ValueError(
            f"{picture.name} holds colours, such as #{colour[0]:02x}{colour[1]:02x}{colour[2]:02x}"
            ", not class ids. Save class ids in one channel; or give prepare the class of every "
            "colour (--classes=FILE.csv with id,name,red,green,blue)."
        )
    _check_channels(picture)
    return pixels[..., 0]


def colours(picture):
    """The colours of a `LabelPicture`, uint8 [H, W, 3].

    Raises:
        ValueError: the file has no colours of 8 bits per channel, or transparent pixels.
    """
    if not picture.may_hold_colours:
        raise ValueError(
            "A label file of colours must have a palette, or RGB or opaque RGBA of 8 bits per "
            f"channel. Received: {picture.name} with channels {picture.mode} of {picture.depth} "
            "bits."
        )
    if picture.mode == "P":
        return picture.palette[picture.pixels]
    _check_channels(picture)
    return picture.pixels[..., :3]


def is_grey(picture):
    """Whether the channels of a `LabelPicture` have one value in every pixel, alpha aside."""
    if picture.mode not in ("RGB", "RGBA"):
        return picture.mode != "P"
    pixels = picture.pixels
    return bool((pixels[..., 1:3] == pixels[..., :1]).all())


def _check_channels(picture):
    """Checks that several channels came with all their bits, and opaque."""
    if picture.depth > 8:
        raise ValueError(
            f"{picture.name} has {picture.depth} bits in each of several channels, of which only "
            "8 can be read. Save class ids in one channel, or colours with 8 bits per channel."
        )
    if picture.mode in ("LA", "RGBA") and (picture.pixels[..., -1] != 255).any():
        raise ValueError(f"{picture.name} is transparent in places; label files must be opaque.")


@contextlib.contextmanager
def _decoding(name):
    try:
        yield
    except Image.DecompressionBombError as error:
        raise images.too_large(name) from error
    except Exception as error:  # damaged files make decoders raise whatever they run into
        raise ValueError(
            f"Cannot be read as a PNG, BMP or TIFF file: {name} ({images.reason(error)})"
        ) from error


def _opened(file, name):
    """The opened `PIL.Image.Image` of a path or file, if its format and channels will do."""
    with _decoding(name):
        picture = Image.open(file, formats=FILE_FORMATS + _OTHER_FORMATS)
    compression = picture.info.get("compression")
    if picture.format not in FILE_FORMATS or compression in _LOSSY:
        kind = f"TIFF file compressed as {compression}"
        if picture.format not in FILE_FORMATS:
            kind = f"{picture.format} file"
        raise ValueError(
            f"{name} is a {kind}. Such files need not keep every value, so that class ids and "
            "label colours become others. Save label maps as PNG (or BMP, or TIFF without lossy "
            "compression), from the original."
        )
    if picture.mode not in _MODES:
        what = "floats" if picture.mode == "F" else f"channels {picture.mode}"
        raise ValueError(
            f"{name} holds {what}, neither class ids nor label colours. Save class ids as integers "
            "of 8 or 16 bits in one channel, or colours as RGB."
        )
    return picture


def _depth(picture, contents):
    if picture.format == "PNG":
        return images.png_bit_depth(contents)
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(ExifTags.Base.BitsPerSample, (1,)))
    return 8

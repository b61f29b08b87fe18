"""Pictures as bytes from untrusted clients: decoded within limits, refused with a reason."""

import io

import numpy as np
from PIL import Image, ImageOps

from oasis_tf.io import images, png_checksums

PHOTOGRAPH_FORMATS = ("PNG", "JPEG", "WEBP")
_GREY_MODES = ("1", "L", "I;16", "I")  # Pillow's, of PNG files
# Every pixel of a photograph takes up to 20 bytes: twice those wanted on a side are left, or more.
_DRAFT, _MOST_DECODED = 2, 2**24


def encode_png(values):
    """A PNG file, bytes.

    Args:
        values: uint8 [H, W, 3], or integers [H, W] written with 8 bits, with 16 where they need it.
    """
    if values.ndim == 2:
        values = values.astype(np.uint8 if values.max(initial=0) < 256 else np.uint16)
    return images.encode_png(values, compress_level=1)


def decode_ids(contents, name, max_pixels):
    """Integers of a PNG with one channel of 8 or 16 bits, int32 [H, W].

    Args:
        contents: bytes of the file.
        name: what the file is, for errors.
        max_pixels: most pixels that are decoded.

    Raises:
        ValueError: no such PNG, or one that is too large.
    """
    image = _decoded(contents, name, ("PNG",), max_pixels)
    png_checksums.check_named(contents, name)
    depth = images.png_bit_depth(contents)
    if image.mode not in _GREY_MODES or depth not in (8, 16):
        raise ValueError(
            f"{name} must be a grey PNG of 8 or 16 bits that holds integers. "
            f"Received: channels {image.mode}, {depth} bits."
        )
    return np.asarray(image).astype(np.int32)


def decode_image(contents, name, max_pixels):
    """Colours of a PNG, JPEG or WebP file as it lies, uint8 [H, W, 3], without its transparency.

    Raises:
        ValueError: no such file, or one that is too large.
    """
    return images.colours(_decoded(contents, name, PHOTOGRAPH_FORMATS, max_pixels), name)


def decode_photograph(contents, name, height, width, max_pixels):
    """A photograph brought to a size: its middle of the right proportions, resampled.

    Args:
        contents: bytes of a PNG, JPEG or WebP file of any size, read as `images.photograph` says.
        name: what the file is, for errors.
        height, width: wanted size.
        max_pixels: most pixels that are decoded.

    Returns:
        uint8 [height, width, 3], and (height, width) of the file after turning.

    Raises:
        ValueError: no such file, one that is too large, or one that is no opaque photograph.
    """
    image = _opened(contents, name, PHOTOGRAPH_FORMATS, max_pixels)
    full = image.size
    # Large JPEG files are decoded at a half, a quarter or an eighth.
    image.draft(None, (_DRAFT * max(height, width),) * 2)
    if image.width * image.height > _MOST_DECODED:
        raise ValueError(
            f"{name} may have {_MOST_DECODED:,} pixels at most if it is no JPEG file. Received: "
            f"{image.width} x {image.height}. Make it smaller."
        )
    lying = _loaded(image, name, PHOTOGRAPH_FORMATS)
    image = Image.fromarray(images.photograph(lying, name))
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(fitted), full[::-1] if image.size == lying.size else full


def check_pixels(contents, name, formats, max_pixels):
    """Checks format and size of a picture by its header alone.

    Raises:
        ValueError: not one of the formats, or more pixels than `max_pixels`.
    """
    _opened(contents, name, formats, max_pixels)


def _opened(contents, name, formats, max_pixels):
    try:
        image = Image.open(io.BytesIO(contents), formats=formats)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{name} may have {max_pixels:,} pixels at most. Make it smaller."
        ) from error
    except (OSError, SyntaxError) as error:
        raise _unreadable(name, formats) from error
    if image.width * image.height > max_pixels:
        raise ValueError(
            f"{name} may have {max_pixels:,} pixels at most. "
            f"Received: {image.width} x {image.height}. Make it smaller."
        )
    return image


def _decoded(contents, name, formats, max_pixels):
    return _loaded(_opened(contents, name, formats, max_pixels), name, formats)


def _loaded(image, name, formats):
    try:
        image.load()
    # Damaged files make decoders raise whatever they run into.
    except Exception as error:
        raise _unreadable(name, formats) from error
    return image


def _unreadable(name, formats):
    *others, last = formats
    kinds = f"{', '.join(others)} or {last}" if others else last
    return ValueError(f"{name} cannot be read as {kinds}. The file is damaged or of another kind.")

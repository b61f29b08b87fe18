"""Reads and writes images: photographs, PNG files, contact sheets, animations."""

import io
import math
import os
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError, features

from oasis_tf.io import files
from oasis_tf.io.image_arrays import checked_images

GAP = 2
ANIMATIONS = ("gif", "webp")
_PALETTE_PIXELS = 2**18  # most pixels from which a palette is computed
_COLOUR_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_NO_WHITE = {"I": "integers of 32 bits or with signs", "F": "floats"}
_TURNS = {  # by the orientation in EXIF data
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = (5, 6, 7, 8)


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


def resize_image(image, height, width):
    """Resizes uint8 [H, W, 3] to [height, width, 3]: bicubic, antialiased, rounded twice."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def resample_exactly(image, height, width):
    """As `resize_image`, but rounded once, at the end, as the input pipeline does in training."""
    planes = [Image.fromarray(plane) for plane in np.moveaxis(image.astype(np.float32), -1, 0)]
    resized = [plane.resize((width, height), Image.Resampling.BICUBIC) for plane in planes]
    return np.clip(np.rint(np.stack(resized, axis=-1)), 0, 255).astype(np.uint8)


# === Photographs ===


def read_photograph(path):
    """Reads an image file of any usual format as `photograph` gives it.

    Raises:
        ValueError: the file cannot be read or decoded, or breaks a rule of `photograph`.
    """
    try:
        contents = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"Cannot be read as an image: {path} ({error})") from error
    return photograph(decoded(contents, path), path)


def decoded(contents, name):
    """Decodes the bytes of an image file to a `PIL.Image.Image`.

    Args:
        contents: bytes of a file of any usual format; of several pictures the first is taken.
        name: of the file, for errors.

    Raises:
        ValueError: the file cannot be decoded, or has too many pixels.
    """
    try:
        picture = Image.open(io.BytesIO(contents))
        picture.load()
    except Image.DecompressionBombError as error:
        raise too_large(name) from error
    except Exception as error:  # damaged files make decoders raise whatever they run into
        raise ValueError(f"Cannot be read as an image: {name} ({reason(error)})") from error
    return picture


def reason(error):
    """What an exception of Pillow says, without the object in memory that it names."""
    unknown = isinstance(error, UnidentifiedImageError)
    return "no picture, or of a kind that Pillow does not read" if unknown else str(error)


def too_large(name):
    """The error for a file with more pixels than Pillow opens, or TensorFlow as a JPEG."""
    return ValueError(
        f"{name} has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels, the most that is decoded. "
        "Cut it into tiles or make it smaller, and its label map with it."
    )


def photograph(picture, name):
    """Converts a photograph to uint8 [H, W, 3], by one rule for all commands.

    It is turned as its EXIF data say. Of 16 bits (12 in TIFF) the upper 8 are kept. Grey, palettes,
    CMYK and the like become RGB. An opaque alpha channel is dropped.

    Args:
        picture: decoded `PIL.Image.Image`.
        name: of the file, for errors.

    Raises:
        ValueError: transparent pixels, or values whose black and white are not known (floats,
            integers of 32 bits).
    """
    pixels = colours(upright(picture), name)
    if _is_transparent(picture):
        raise ValueError(f"{name} is transparent in places; a photograph must be opaque.")
    return pixels


def colours(picture, name):
    """uint8 [H, W, 3] of a decoded `PIL.Image.Image` as it lies, whatever its transparency.

    Raises:
        ValueError: see `check_channels`.
    """
    check_channels(picture, name)
    if picture.mode in _DEEP_MODES:
        return np.repeat(_upper_bits(picture)[..., None], 3, axis=-1)
    # From a palette with transparency straight to RGB, Pillow warns.
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    return np.ascontiguousarray(np.asarray(picture.convert(mode))[..., :3])


def check_channels(picture, name):
    """Checks that an opened `PIL.Image.Image` has channels that `colours` converts.

    Raises:
        ValueError: it has others.
    """
    if picture.mode in _NO_WHITE:
        raise ValueError(
            f"{name} holds {_NO_WHITE[picture.mode]}, of which it is not known what is black and "
            "what white. Scale it to 8 bits (or 16 without signs) per channel and save it again."
        )
    if picture.mode not in _COLOUR_MODES + _DEEP_MODES:
        raise ValueError(
            f"{name} has channels that cannot be converted to RGB: {picture.mode}. Save it as RGB."
        )


def upright(picture):
    """A decoded `PIL.Image.Image`, turned as its EXIF data say."""
    turn = _TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def is_turned(picture):
    """Whether the EXIF data of a decoded `PIL.Image.Image` say that it lies turned."""
    return _orientation(picture) in _TURNS


def upright_size(picture, *, decode=False):
    """(width, height) after turning, of an opened `PIL.Image.Image`.

    EXIF data of a PNG may follow its pixels. They are then found only with `decode`.
    """
    hidden = picture.format == "PNG" and not {"exif", "Raw profile type exif"} & set(picture.info)
    turned = (decode or not hidden) and _orientation(picture) in _QUARTER_TURNS
    return picture.size[::-1] if turned else picture.size


def _orientation(picture):
    """The orientation in the EXIF data; 1, upright, where there are none that can be read."""
    if picture.format == "TIFF":  # Pillow turns these itself
        return 1
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF data may hold anything, and viewers pass over what they cannot read
        return 1


def _upper_bits(picture):
    """The upper 8 bits of grey of 16 bits, uint8 [H, W]; of 12 in TIFF files that have 12."""
    tags = getattr(picture, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    upper = (np.asarray(picture).astype(np.int32) >> (bits - 8)).astype(np.uint8)
    white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    return 255 - upper if white_is_zero else upper


def _is_transparent(picture):
    if not picture.has_transparency_data:
        return False
    if picture.mode in _DEEP_MODES:  # one value of grey stands for transparency
        return bool((np.asarray(picture) == picture.info["transparency"]).any())
    return picture.convert("RGBA").getchannel("A").getextrema()[0] < 255


# === Sheets and animations ===


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

"""Finds, reads, checks, resizes and writes label PNGs.

A label PNG holds raw ids (the values of the data set's own files) in one channel, or colours of the
data set's palette. A `LabelSpace` converts both to model ids.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from oasis_tf.io import images

FORMATS = ("auto", "ids", "colors")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
# Pillow's modes of PNG files with one channel: grey of 1, up to 8 and 16 bits; palette.
GREY_MODES = ("1", "L", "I;16", "I")
ONE_CHANNEL_MODES = (*GREY_MODES, "P")
_BAND_PIXELS = 2**20  # sorting the colours of a pixel takes 100 bytes


def find_label_files(path):
    """Finds label files: `find_files` for PNG files."""
    return find_files(path, (".png",), "label PNGs")


def find_files(path, suffixes, what):
    """Finds the files of a path.

    Args:
        path: a file, or a folder that is searched with its subfolders; hidden files are skipped.
        suffixes: lower-case suffixes of the files wanted from a folder, such as `(".png",)`.
        what: name of such files in errors.

    Returns:
        sorted list of paths, all with different stems.

    Raises:
        ValueError: the path does not exist, the folder has no such file, or two files have the
            same stem.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if _is_one_of(file, suffixes))
        if not found:
            kinds = "PNG" if suffixes == (".png",) else ", ".join(suffixes)
            raise ValueError(f"The folder holds no {kinds} files: {path}. Name a folder of {what}.")
    elif path.is_file():
        found = [path]
    else:
        raise ValueError(f"No such file or folder of {what}: {path}")
    by_stem = {}
    for file in found:
        other = by_stem.setdefault(file.stem, file)
        if other is not file:
            raise ValueError(
                f"{what[0].upper()}{what[1:]} must have different stems, since outputs are named "
                f"after them. Received: {other} and {file}. Rename one, or name a smaller folder."
            )
    return [str(file) for file in found]


def _is_one_of(file, suffixes):
    return file.suffix.lower() in suffixes and not file.name.startswith(".")


def read_label_file(path):
    """Reads raw ids.

    Args:
        path: PNG file with one channel: grey of 1 to 16 bits, or palette (its indices are the ids).

    Returns:
        integers [H, W].

    Raises:
        ValueError: the file is not a readable PNG, or has more than one channel.
    """
    mode, pixels, _ = _read_png(path)
    return _ids(path, mode, pixels)


def read_mask(path, shape):
    """Reads a mask: bool [H, W], true where the file is not 0.

    Args:
        path: PNG file with one channel.
        shape: required (height, width).

    Raises:
        ValueError: the file is unreadable, has colours or another size, or is 0 everywhere.
    """
    mode, mask, _ = _read_png(path)
    if mode not in ONE_CHANNEL_MODES:
        raise ValueError(
            "A mask must have one channel: 0 outside the region, anything else inside. "
            f"Received: {path} with channels {mode}."
        )
    if mask.shape != tuple(shape):
        raise ValueError(
            f"A mask must have the size of its label map or photograph. Received: {path} of height "
            f"and width {mask.shape[0]} x {mask.shape[1]} for {shape[0]} x {shape[1]}."
        )
    if not mask.any():
        raise ValueError(f"The mask has no pixel that is not 0: {path}. Mark the region in it.")
    return mask != 0


def _read_png(path):
    """Reads mode, pixels and palette (RGB [256, 3] for mode P, else None) of a PNG file."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            palette = None
            if image.mode == "P":
                palette = np.zeros((256, 3), np.uint8)  # decoders show missing entries as black
                entries = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
                palette[: len(entries)] = entries
            return image.mode, np.asarray(image), palette
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"Cannot be read as a PNG file: {path} ({error})") from error


def _ids(path, mode, pixels):
    if mode not in ONE_CHANNEL_MODES:
        raise ValueError(
            "A label PNG must have one channel that holds raw ids. "
            f"Received: {path} with channels {mode}. Save class numbers, not colours."
        )
    if mode == "L":
        # Pillow stretches grey of 2 or 4 bits to 0…255; the ids are the values in the file.
        pixels = pixels // {2: 85, 4: 17}.get(_bit_depth(path), 1)
    return pixels.astype(np.int32) if mode in ("1", "I") else pixels


def _bit_depth(path):
    with open(path, "rb") as file:
        return images.png_bit_depth(file.read(25))


# === Model ids ===


def read_label_map(path, label_space, label_format="auto"):
    """Reads a label PNG as model ids, integers [H, W].

    Args:
        path: PNG file of raw ids (one channel, or the indices of a palette) or of colours (RGB,
            opaque RGBA, or the colours of a palette).
        label_space: `LabelSpace`.
        label_format: "ids" or "colors". "auto" reads ids from files with one channel or a palette
            and colours from others. It refuses a palette file whose indices and colours stand for
            different classes.

    Raises:
        ValueError: the file is unreadable, has other channels, or has values or colours of no
            class. The error names the file.
    """
    if label_format not in FORMATS:
        raise ValueError(
            f"`label_format` must be one of {', '.join(FORMATS)}. Received: {label_format!r}."
        )
    mode, pixels, palette = _read_png(path)
    if label_format == "colors" or (label_format == "auto" and mode in ("RGB", "RGBA")):
        return colours_to_model_ids(_colours(path, mode, pixels, palette), label_space, path)
    label_map = label_space.to_model_ids(_ids(path, mode, pixels), str(path))
    if label_format == "auto" and palette is not None:
        _check_palette(path, label_map, pixels, palette, label_space)
    return label_map


def colours_to_model_ids(colours, label_space, source):
    """Converts palette colours to model ids. Colours must match exactly.

    Args:
        colours: uint8 [H, W, 3]. If classes share a colour, it stands for the first of them in
            model-id order.
        label_space: `LabelSpace`.
        source: file that the error names.

    Returns:
        integers [H, W] of the label space's type.

    Raises:
        ValueError: colours of no class. The error lists the ten most frequent with their pixels,
            of a large file in the first rows that have some.
    """
    known, ids = _colour_table(label_space)
    label_map = np.empty(colours.shape[:2], label_space.dtype)
    rows = max(1, _BAND_PIXELS // max(1, colours.shape[1]))
    for top in range(0, len(colours), rows):
        band = slice(top, top + rows)
        values, inverse, counts = np.unique(
            _packed(colours[band]), return_inverse=True, return_counts=True
        )
        place = np.minimum(np.searchsorted(known, values), len(known) - 1)
        unknown = known[place] != values
        if unknown.any():
            order = np.argsort(-counts[unknown], kind="stable")
            listed = values[unknown][order], counts[unknown][order]
            raise ValueError(_unknown_colours(*listed, source))
        label_map[band] = ids[place][inverse].reshape(label_map[band].shape)
    return label_map


def _colour_table(label_space):
    """Returns the packed colours of the palette, ascending, and the first class of each."""
    return np.unique(_packed(np.array(label_space.palette, np.uint8)), return_index=True)


def _packed(colours):
    return np.asarray(colours).astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])


def _unknown_colours(values, counts, source):
    listed = ", ".join(
        f"#{value:06x} ({count} pixels)" for value, count in zip(values[:10], counts, strict=False)
    )
    more = f" and {len(values) - 10} more" if len(values) > 10 else ""
    return (
        f"{source}: {len(values)} colours are not in the data set's palette: {listed}{more}. "
        "Colours must match exactly (no antialiasing, no JPEG). config.json of the model has the "
        "palette under label_space. Correct the colours, or save class ids."
    )


def _colours(path, mode, pixels, palette):
    """Returns the colours of a file, uint8 [H, W, 3]."""
    if _bit_depth(path) == 16 or mode not in ("P", "RGB", "RGBA"):
        raise ValueError(
            "A label file of colours must be a palette, RGB or opaque RGBA PNG of 8 bits per "
            "channel. "
            f"Received: {path} with channels {mode} of {_bit_depth(path)} bits."
        )
    if mode == "P":
        return palette[pixels]
    if mode == "RGBA" and (pixels[..., 3] != 255).any():
        raise ValueError(f"{path} is transparent in places; label colours must be opaque.")
    return pixels[..., :3]


def _check_palette(path, label_map, indices, palette, label_space):
    """Refuses a palette file whose colours stand for other classes than its indices."""
    used = np.unique(indices)
    if not np.isin(_packed(palette[used]), _colour_table(label_space)[0]).all():
        return  # not the palette of the data set: its colours have no meaning
    if (label_space.colorize(label_map) != palette[indices]).any():
        raise ValueError(
            f"{path}: the indices of its palette stand for other classes than its colours, which "
            "are all in the data set's palette. Choose which of them to use: --label_format=ids or "
            "--label_format=colors."
        )


def write_label_map(path, label_map, label_space, text=None):
    """Writes model ids [H, W] as a PNG of raw ids, whole or not at all.

    The PNG has a palette, or is 16-bit grey if raw ids exceed 255. For `text` see `save_png`.
    """
    images.save_png(path, raw_picture(label_map, label_space), text)


def raw_picture(label_map, label_space):
    """Converts model ids [H, W] to the Pillow image that `write_label_map` writes."""
    raw = label_space.to_raw_ids(label_map)
    if max(label_space.raw_ids) > 255:
        return Image.fromarray(raw.astype(np.uint16))
    palette = np.zeros((256, 3), np.uint8)
    known = np.array(label_space.raw_ids) >= 0  # a class without a raw value has no entry
    palette[np.array(label_space.raw_ids)[known]] = np.array(label_space.palette)[known]
    picture = Image.fromarray(raw.astype(np.uint8))
    picture.putpalette(palette.tobytes())
    return picture


def resize_label_map(label_map, height, width):
    """Resizes [H, W] to [height, width] as in training: nearest neighbour of pixel centres."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip((height, width), label_map.shape, strict=True)
    )
    return label_map[rows[:, None], columns]

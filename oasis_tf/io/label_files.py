"""Finds, reads, checks, resizes and writes label files.

A label file holds raw ids (the values of the data set's own files), or colours of the data set's
palette; `label_pictures` says in which channels. A `LabelSpace` converts both to model ids.
"""

import os
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from oasis_tf.io import images, label_pictures
from oasis_tf.io.finding import files_below
from oasis_tf.io.problems import WrongValues, counted

FORMATS = ("auto", "ids", "colors")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_MOST_COLOURS = 256  # of no class, that an error holds: a photograph has a million
# Files of Cityscapes beside those with class ids.
_CITYSCAPES_OTHERS = re.compile(
    r"(.+_gt(?:Fine|Coarse))_(color|instanceIds|instanceTrainIds|labelTrainIds)\.png"
)
_BAND_PIXELS = 2**20  # sorting the colours of a pixel takes 100 bytes


def find_label_files(path, what="label files"):
    """Finds label files: `find_files` for `label_pictures.SUFFIXES` and `label_files_among`."""
    return find_files(path, label_pictures.SUFFIXES, what, label_files_among)


def label_files_among(found):
    """The paths that are left if each label file is found once.

    A PNG file hides files of other formats beside it that differ in their suffix alone, and a file
    of label ids of Cityscapes the others of its scene.
    """
    names = set(found)
    pngs = {os.path.splitext(file)[0] for file in found if file.lower().endswith(".png")}

    def is_hidden(file):
        scene = _CITYSCAPES_OTHERS.fullmatch(file)
        if scene and f"{scene[1]}_labelIds.png" in names:
            return True
        return not file.lower().endswith(".png") and os.path.splitext(file)[0] in pngs

    return [file for file in found if not is_hidden(file)]


def find_files(path, suffixes, what, choose=list):
    """Finds the files of a path.

    Args:
        path: a file, or a folder that is searched with its subfolders (see `files_below`).
        suffixes: lower-case suffixes of the files wanted from a folder, such as `(".png",)`.
        what: name of such files in errors.
        choose: function from the paths found in a folder to those wanted.

    Returns:
        sorted list of paths, all with different stems.

    Raises:
        ValueError: the path does not exist, the folder has no such file, or two files have the
            same stem.
    """
    path = str(Path(path))
    if os.path.isdir(path):
        found = choose([file for file in files_below(path) if file.lower().endswith(suffixes)])
        if not found:
            kinds = ", ".join(suffixes)
            raise ValueError(f"The folder holds no {kinds} files: {path}. Name a folder of {what}.")
    elif os.path.isfile(path):
        found = [path]
    else:
        raise ValueError(f"No such file or folder of {what}: {path}")
    by_stem = defaultdict(list)
    for file in found:
        by_stem[Path(file).stem].append(file)
    equal = [" and ".join(files) for files in by_stem.values() if len(files) > 1]
    if equal:
        raise ValueError(
            f"{what[0].upper()}{what[1:]} must have different stems, since outputs are named "
            f"after them. Received: {counted(equal)}. Rename them, or name a smaller folder."
        )
    return found


def read_label_file(source, name=None):
    """Reads raw ids, integers [H, W]; arguments as `label_pictures.read`.

    Raises:
        ValueError: the file is unreadable, or holds no class ids (see `label_pictures`).
    """
    return label_pictures.ids(label_pictures.read(source, name))


def read_mask(path, shape):
    """Reads a mask: bool [H, W], true where the file is not 0.

    Args:
        path: file of one channel, as label files have it.
        shape: required (height, width).

    Raises:
        ValueError: the file is unreadable, has colours or another size, or is 0 everywhere.
    """
    picture = label_pictures.read(path)
    if picture.mode != "P" and not label_pictures.is_grey(picture):
        raise ValueError(
            "A mask must have one channel: 0 outside the region, anything else inside. "
            f"Received: {path} with channels {picture.mode} that differ."
        )
    mask = label_pictures.ids(picture)
    if mask.shape != tuple(shape):
        raise ValueError(
            f"A mask must have the size of its label map or photograph. Received: {path} of height "
            f"and width {mask.shape[0]} x {mask.shape[1]} for {shape[0]} x {shape[1]}."
        )
    if not mask.any():
        raise ValueError(f"The mask has no pixel that is not 0: {path}. Mark the region in it.")
    return mask != 0


# === Model ids ===


def read_label_map(source, label_space, label_format="auto", name=None):
    """Reads a label file as model ids, integers [H, W].

    Args:
        source: path, or bytes of the file, of raw ids or of colours; see `label_pictures`.
        label_space: `LabelSpace`.
        label_format: "ids" or "colors". "auto" reads ids from grey files. From files with a palette
            or with RGB it reads what all its pixels have: ids or colours of classes. It refuses a
            file whose ids and colours stand for different classes.
        name: of the file, for errors; default: the path.

    Raises:
        ValueError: the file is unreadable, has other channels, or has values or colours of no
            class. The error names the file.
    """
    if label_format not in FORMATS:
        raise ValueError(
            f"`label_format` must be one of {', '.join(FORMATS)}. Received: {label_format!r}."
        )
    if label_space.dataset == "cityscapes":
        _check_cityscapes(name or source)
    picture = label_pictures.read(source, name)
    if label_format == "colors":
        return colours_to_model_ids(label_pictures.colours(picture), label_space, picture.name)
    if label_format == "ids" or not picture.may_hold_colours:
        return label_space.to_model_ids(label_pictures.ids(picture), picture.name)
    return _ids_or_colours(picture, label_space)


def _check_cityscapes(source):
    match = not isinstance(source, bytes) and _CITYSCAPES_OTHERS.fullmatch(Path(source).name)
    if match:
        raise ValueError(
            f"{source} does not hold the label ids of Cityscapes, as its name says ({match[2]}). "
            f"Take {match[1]}_labelIds.png."
        )


def _ids_or_colours(picture, label_space):
    """Model ids of a file that may hold ids or colours; a doubt is refused."""
    readings, errors = [], []
    for read in (_by_id, _by_colour):
        try:
            readings.append(read(picture, label_space))
        except ValueError as error:
            errors.append(error)
    if not readings:
        holds_ids = picture.mode == "P" or label_pictures.is_grey(picture)
        raise errors[0] if holds_ids else errors[1]
    # Of classes that share a colour, the colour means the first, and the ids are as good as it.
    shown = [label_space.colorize(reading) for reading in readings]
    if (shown[0] != shown[-1]).any():
        raise ValueError(
            f"{picture.name} can be read as class ids and as colours of the palette, and these "
            "stand for different classes. Choose which of them to use: --label_format=ids or "
            "--label_format=colors."
        )
    return readings[0]


def _by_id(picture, label_space):
    return label_space.to_model_ids(label_pictures.ids(picture), picture.name)


def _by_colour(picture, label_space):
    if picture.palette is None:
        return colours_to_model_ids(label_pictures.colours(picture), label_space, picture.name)
    used = np.unique(picture.pixels)
    classes = np.zeros(256, label_space.dtype)
    classes[used] = colours_to_model_ids(picture.palette[used][None], label_space, picture.name)
    return classes[picture.pixels]


def colours_to_model_ids(colours, label_space, source):
    """Converts palette colours to model ids. Colours must match exactly.

    Args:
        colours: uint8 [H, W, 3]. If classes share a colour, it stands for the first of them.
        label_space: `LabelSpace`.
        source: file that the error names.

    Returns:
        integers [H, W] of the label space's type.

    Raises:
        WrongValues: colours of no class. The error lists the ten most frequent with their pixels,
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
            values, counts = values[unknown][order], counts[unknown][order]
            raise WrongValues(
                _unknown_colours(values, counts, source),
                (f"#{value:06x}" for value in values[:_MOST_COLOURS]),
            )
        label_map[band] = ids[place][inverse].reshape(label_map[band].shape)
    return label_map


def _colour_table(label_space):
    """The packed colours that stand for a class, ascending, and the first class of each."""
    colours, ids = label_space.known_colors()
    packed, first = np.unique(_packed(colours), return_index=True)
    return packed, ids[first]


def _packed(colours):
    return colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])


def _unknown_colours(values, counts, source):
    listed = ", ".join(
        f"#{value:06x} ({count} pixels)" for value, count in zip(values[:10], counts, strict=False)
    )
    more = f" and {len(values) - 10} more" if len(values) > 10 else ""
    return (
        f"{source}: {len(values)} colours are not in the data set's palette: {listed}{more}. "
        "Colours must match exactly (no antialiasing, no JPEG). The palette is in config.json of "
        "the model (label_space), or in the file that prepare has as --classes. Correct the "
        "colours, or save class ids."
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

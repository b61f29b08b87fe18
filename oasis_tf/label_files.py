"""Label PNGs that users hand in: found, read, checked and brought to a size.

A label PNG has one channel and holds raw ids, the numbers the data set's own files use; a
`LabelSpace` turns them into model ids.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image

ONE_CHANNEL_MODES = ("1", "L", "P", "I;16", "I")
BIT_DEPTH_OFFSET = 24  # of the byte in a PNG file that tells the bits a channel


def find_label_files(path):
    """The label files a path stands for.

    Args:
        path: a PNG file, or a folder searched with all its subfolders.

    Returns:
        list of paths, sorted, each with another stem.

    Raises:
        ValueError: nothing there, no PNG in the folder, or two files with the same stem.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".png")
        if not files:
            raise ValueError(f"The folder holds no PNG files: {path}. Name a folder of label PNGs.")
    elif path.is_file():
        files = [path]
    else:
        raise ValueError(f"No such file or folder of label PNGs: {path}")
    by_stem = {}
    for file in files:
        other = by_stem.setdefault(file.stem, file)
        if other is not file:
            raise ValueError(
                f"Label files must have different stems, since outputs are named after them. "
                f"Received: {other} and {file}. Rename one, or name a smaller folder."
            )
    return [str(file) for file in files]


def read_label_file(path):
    """Reads raw ids.

    Args:
        path: PNG file with one channel: grey of 1 to 16 bits, or palette (the indices are the ids).

    Returns:
        integers [H, W].

    Raises:
        ValueError: not a readable PNG, or more than one channel.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            mode, ids = image.mode, np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"Cannot be read as a PNG file: {path} ({error})") from error
    if mode not in ONE_CHANNEL_MODES:
        raise ValueError(
            "A label PNG must have one channel that holds raw ids. "
            f"Received: {path} with channels {mode}. Save class numbers, not colours."
        )
    if mode == "L":
        # Grey of 2 or 4 bits comes stretched to 0..255; the ids are the values in the file.
        ids = ids // {2: 85, 4: 17}.get(_bit_depth(path), 1)
    return ids.astype(np.int32) if mode in ("1", "I") else ids


def _bit_depth(path):
    with open(path, "rb") as file:
        file.seek(BIT_DEPTH_OFFSET)
        return file.read(1)[0]


def read_label_map(path, label_space):
    """Reads a label PNG as model ids, integers [H, W].

    Raises:
        ValueError: unreadable, more than one channel, or values that are no class; the file is
            named.
    """
    return label_space.to_model_ids(read_label_file(path), os.fspath(path))


def resize_label_map(label_map, height, width):
    """Nearest-neighbour resize of [H, W] to [height, width]: pixel centres, as in training."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip((height, width), label_map.shape, strict=True)
    )
    return label_map[rows[:, None], columns]

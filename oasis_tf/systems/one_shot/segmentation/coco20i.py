"""Lists of COCO-20i: which images of COCO hold a class of a fold."""

import os

import numpy as np

from oasis_tf.io import label_pictures, text_files

FOLDS = 4
_CLASSES = 80


def classes_of_fold(fold):
    """The 20 ids, in 1...80, that a fold tests: every fourth one from `fold` + 1 on.

    Raises:
        ValueError: there is no such fold.
    """
    if fold not in range(FOLDS):
        raise ValueError(f"`fold` must be one of 0...{FOLDS - 1}. Received: {fold}.")
    return list(range(fold + 1, _CLASSES + 1, FOLDS))


def read_list(path, root):
    """Pairs of a list file: a line has the paths of an image and of its annotation below `root`.

    Args:
        path: of the file.
        root: folder.

    Returns:
        list of (path, path).

    Raises:
        ValueError, OSError: the file cannot be read, or a line is another.
    """
    pairs = []
    for number, line in enumerate(text_files.read_text(path).splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2:
            raise ValueError(
                "A line must have two paths, of an image and of its annotation. Received: "
                f"{path}, line {number}: {line!r}."
            )
        pairs.append(tuple(os.path.join(root, part) for part in parts))
    return pairs


def annotation(path):
    """The ids of an annotation, uint8 [H,W]; 255 stands for none."""
    return label_pictures.ids(label_pictures.read(path)).astype(np.uint8)


def holding(pairs, class_id, count=None):
    """Of pairs the first `count` (None: all) whose annotation holds a class."""
    found = []
    for pair in pairs:
        if len(found) == count:
            break
        if (annotation(pair[1]) == class_id).any():
            found.append(pair)
    return found

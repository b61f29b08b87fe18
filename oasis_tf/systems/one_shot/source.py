"""The training pictures: found, checked and counted before any work. Nothing here needs TensorFlow.

One file is one picture. A folder holds frames, or `image/` and, with equal stems, `mask/`.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from oasis_tf.io import finding, images, label_pictures
from oasis_tf.io.label_files import IMAGE_SUFFIXES, label_files_among, resize_label_map
from oasis_tf.io.problems import Problems
from oasis_tf.systems.one_shot.data_settings import DataConfig

BINARY_FROM = 30  # smallest maximum of a mask without a palette that is taken for binary
_HALF = 128  # share of an object, in 255, from which on a pixel is of it
_MOST_CLASSES = 256


@dataclasses.dataclass(frozen=True)
class Source:
    """Facts of the training pictures.

    Attributes:
        pictures: number of them.
        height, width: their common size in the files.
        num_classes: classes of their masks, the background included; 0 without masks.
        binary: whether masks hold the share of one object instead of ids.
        digest: of the contents of all files; "" of a converted model, which has seen others.
    """

    pictures: int
    height: int
    width: int
    num_classes: int = 0
    binary: bool = False
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the facts by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, contents: Mapping[str, Any]) -> Self:
        """Creates the facts; inverse of `to_json`."""
        return cls(**contents)


def find(settings: DataConfig) -> tuple[list[Path], list[Path]]:
    """Returns the paths of the training pictures and of their masks (or no masks), in order.

    Raises:
        ValueError: there is no picture, or pictures and masks do not have the same names.
        OSError: the path does not exist or cannot be read.
    """
    root = Path(settings.data_dir or "")
    if not root.exists():
        raise FileNotFoundError(
            f"`data_dir` must be a picture or a folder of pictures. Not found: {root}."
        )
    if root.is_file():
        return [root], []
    folder = root / "image" if (root / "image").is_dir() else root
    masks = root / "mask"
    if masks.is_dir() and folder == root:
        raise ValueError(
            f"A folder of masks must have one of pictures beside it. Received: {masks} without "
            f"{root / 'image'}. Put the pictures there, under the names of the masks."
        )
    found = files(folder, IMAGE_SUFFIXES)
    if not found:
        raise ValueError(
            f"`data_dir` must hold at least one picture ({', '.join(IMAGE_SUFFIXES)}). Found none "
            f"in {folder}."
        )
    labels = _masks_of(found, masks) if settings.masks and masks.is_dir() else []
    taken = slice(0, settings.num_pictures * settings.frame_step or None, settings.frame_step)
    return found[taken], labels[taken]


def inspect(settings: DataConfig) -> Source:
    """Reads and checks all pictures and masks, and returns their facts.

    Raises:
        ValueError: as `find`; a file cannot be read, pictures differ in size, or masks hold
            anything but classes without gaps. All files with problems are named, ten at most.
        OSError: as `find`.
    """
    paths, masks = find(settings)
    digest, sizes, problems = hashlib.sha256(), {}, Problems()
    for path in paths:
        with problems.noted():
            digest.update(path.read_bytes())
            sizes.setdefault(images.read_photograph(path).shape[:2], path)
    problems.raise_if_any("Pictures that cannot be used")
    _check_one_size(sizes)
    ((height, width),) = sizes
    found = _Masks(masks, settings.mask_values, digest)
    return Source(
        pictures=len(paths),
        height=height,
        width=width,
        num_classes=found.num_classes,
        binary=found.binary,
        digest=digest.hexdigest()[:16],
    )


def read(settings: DataConfig, source: Source, height: int, width: int) -> tuple[Any, Any]:
    """Returns the pictures and masks in their training size.

    Pictures are resized by Pillow's bilinear filter, whatever their proportions; masks by the
    nearest pixel.

    Args:
        settings: where they lie.
        source: the facts of them.
        height, width: the training size.

    Returns:
        uint8 [K, height, width, 3], and uint8 [K, height, width] of ids or of shares, or None.
    """
    paths, masks = find(settings)
    pictures = [resized(path, height, width) for path in paths]
    labels = [
        resize_label_map(_values(label_pictures.read(mask)), height, width)
        for mask in (masks if source.num_classes else ())
    ]
    return np.stack(pictures), np.stack(labels) if labels else None


def resized(path: Path, height: int, width: int) -> np.ndarray:
    """Returns a picture as training has it, uint8 [height, width, 3]."""
    picture = Image.fromarray(images.read_photograph(path))
    return np.asarray(picture.resize((width, height), Image.BILINEAR))


def ids(values: np.ndarray, binary: bool) -> np.ndarray:
    """Returns the ids of a mask's values, uint8; with `binary`, 1 where the share is half."""
    return (values >= _HALF).astype(np.uint8) if binary else values.astype(np.uint8)


def files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Returns the files of a folder, and of those in it, whose names end so; see `finding`."""
    found = (path for path in finding.files_below(folder) if path.lower().endswith(suffixes))
    return [Path(path) for path in found]


def _masks_of(pictures: Sequence[Path], folder: Path) -> list[Path]:
    """Returns the mask of every picture, by its stem."""
    found = label_files_among([str(path) for path in files(folder, label_pictures.SUFFIXES)])
    masks = {Path(path).stem: Path(path) for path in found}
    stems = [path.stem for path in pictures]
    alone = [path.name for path in pictures if path.stem not in masks]
    alone += [path.name for stem, path in masks.items() if stem not in stems]
    if alone or len(set(stems)) < len(stems):
        raise ValueError(
            f"Every picture must have one mask of the same stem in {folder}, and every mask a "
            f"picture. Without the other: {', '.join(alone[:10]) or 'pictures share a stem'}. Or "
            "give --nomasks."
        )
    return [masks[stem] for stem in stems]


def _check_one_size(sizes: Mapping[tuple[int, int], Path]) -> None:
    if len(sizes) > 1:
        (a, first), (b, second) = list(sizes.items())[:2]
        raise ValueError(
            f"All pictures must have one size. Received: {first} of {a[0]}x{a[1]} (height x width) "
            f"and {second} of {b[0]}x{b[1]}. Resize or crop them to one size."
        )


class _Masks:
    """What a list of masks holds: `num_classes` and `binary`."""

    def __init__(self, paths: Sequence[Path], kind: str, digest: Any) -> None:
        self.num_classes, self.binary = 0, False
        if not paths:
            return
        problems, largest, palette, present = Problems(), {}, False, set()
        for path in paths:
            with problems.noted():
                picture = label_pictures.read(path)
                digest.update(path.read_bytes())
                values = _values(picture)
                largest[path], palette = int(values.max()), palette or picture.mode == "P"
                present |= set(np.unique(values).tolist())
        problems.raise_if_any("Masks that cannot be used")
        self.binary = kind == "binary" or (
            kind == "auto" and not palette and max(largest.values()) >= BINARY_FROM
        )
        self.num_classes = 2 if self.binary else _check_ids(present, largest)


def _values(picture: label_pictures.LabelPicture) -> np.ndarray:
    """Returns the values of a mask, uint8 [H, W]: ids, or the shares of an object."""
    values = label_pictures.ids(picture)
    if values.max() >= _MOST_CLASSES:
        raise ValueError(
            f"A mask must hold values in 0...255. Received: {picture.name} with {values.max()}. "
            "Number the classes from 1 on."
        )
    return values.astype(np.uint8)


def _check_ids(present: set[int], largest: Mapping[Path, int]) -> int:
    """Returns the number of classes of masks that hold ids.

    Raises:
        ValueError: no object, or ids with gaps.
    """
    most = max(largest.values())
    if most == 0:
        raise ValueError(
            "Masks must have an object, of ids from 1 on. Received: all pixels 0, the background. "
            "Or give --nomasks."
        )
    missing = sorted(set(range(1, most)) - present)
    if missing:
        path = max(largest, key=lambda p: largest[p])
        raise ValueError(
            f"Ids of classes must have no gaps. Received: {path} with {most}, but no pixel of any "
            f"mask has {', '.join(map(str, missing[:10]))}. Number the classes from 1 on; or, if "
            "masks hold the share of one object, give --mask_values=binary."
        )
    return most + 1

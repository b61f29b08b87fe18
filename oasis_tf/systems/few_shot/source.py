"""The training pictures: found, checked and counted before any work. Nothing here needs TensorFlow.

They are of any sizes: training has them with the short side resized and the middle cropped.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from oasis_tf.io import files, finding, images, json_files
from oasis_tf.io.label_files import IMAGE_SUFFIXES
from oasis_tf.io.problems import Problems
from oasis_tf.systems.few_shot.data_settings import DataConfig

LIST_FILE = "training_pictures.json"


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Facts of the training pictures.

    Attributes:
        number: how many there are; 0 of a converted model, which has seen others.
        classes: names of their folders, where these are classes.
        digest: of the contents of all files.
        listed: (name, digest of the contents) of each, which lie in a file of their own; None
            where they were not looked at.
    """

    number: int = 0
    classes: tuple[str, ...] = ()
    digest: str = ""
    listed: tuple[tuple[str, str], ...] | None = dataclasses.field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Returns the facts by name, without the list."""
        return {"number": self.number, "classes": list(self.classes), "digest": self.digest}

    @classmethod
    def from_json(cls, contents: Mapping[str, Any]) -> Self:
        """Creates the facts; inverse of `to_json`."""
        return cls(contents["number"], tuple(contents["classes"]), contents["digest"])

    def save_list(self, model_dir: str | os.PathLike[str]) -> None:
        """Writes names and digests into a model directory, whole or not at all.

        Raises:
            OSError: the directory cannot be written.
        """
        if self.listed is None:
            return
        contents = {"pictures": [{"name": n, "sha256": digest} for n, digest in self.listed]}
        json_files.write(Path(model_dir) / LIST_FILE, contents)


def listed(model_dir: str | os.PathLike[str]) -> dict[str, str]:
    """Returns the names of the training pictures of a model directory by their digests (SHA-256).

    Raises:
        ValueError: the list is damaged.
        FileNotFoundError: there is none.
    """
    contents = json_files.read(Path(model_dir) / LIST_FILE)
    return {entry["sha256"]: entry["name"] for entry in contents["pictures"]}


def find(data_dir: str | os.PathLike[str]) -> list[Path]:
    """Returns the paths of the pictures of a folder and of those in it, in order.

    Raises:
        ValueError: there is no picture.
        OSError: the folder does not exist or cannot be read.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise FileNotFoundError(f"`data_dir` must be a folder of pictures. Received: {root}.")
    found = [Path(p) for p in finding.files_below(root) if p.lower().endswith(IMAGE_SUFFIXES)]
    if not found:
        raise ValueError(
            f"`data_dir` must hold at least one picture ({', '.join(IMAGE_SUFFIXES)}). Found none "
            f"in {root}."
        )
    return found


def chosen(settings: DataConfig) -> list[Path]:
    """Returns the paths of the training pictures, in order. Raises as `find` does.

    Raises:
        ValueError: there are fewer than the settings ask for.
    """
    found = find(settings.data_dir or "")
    if len(found) < settings.num_pictures:
        raise ValueError(
            f"`num_pictures` must be at most {len(found)}, as many as {settings.data_dir} holds. "
            f"Received: num_pictures={settings.num_pictures}."
        )
    return found[: settings.num_pictures or None]


def inspect(settings: DataConfig, with_classes: bool) -> Pictures:
    """Reads and checks all pictures, and returns their facts.

    Args:
        settings: where they lie.
        with_classes: whether each folder below is a class.

    Raises:
        ValueError: as `find` and `class_names`, or files cannot be read. All files with problems
            are named, ten at most.
        OSError: as `find`.
    """
    root, paths = Path(settings.data_dir or ""), chosen(settings)
    classes = class_names(root, paths) if with_classes else ()
    found, problems = [], Problems()
    for path in paths:
        with problems.noted():
            images.read_photograph(path)
            found.append((path.relative_to(root).as_posix(), files.file_sha256(path)))
    problems.raise_if_any("Pictures that cannot be used")
    whole = hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]
    return Pictures(len(paths), classes, whole, tuple(found))


def class_names(root: Path, paths: Sequence[Path]) -> tuple[str, ...]:
    """Returns the names of the folders that pictures lie in, sorted.

    Raises:
        ValueError: a picture lies in no folder of `root`.
    """
    loose = [path.name for path in paths if path.parent == root]
    if loose:
        raise ValueError(
            "With classes, every picture must lie in the folder of its class. Received: "
            f"{', '.join(loose[:10])} in {root} itself. Make a folder for each class there."
        )
    return tuple(sorted({path.relative_to(root).parts[0] for path in paths}))


def resized(path: str | os.PathLike[str], size: int) -> np.ndarray:
    """Returns a picture as training has it, uint8 [size, size, 3].

    Pillow's Lanczos filter makes its short side `size`; the middle of the long one stays.
    """
    picture = Image.fromarray(images.read_photograph(path))
    width, height = (
        size if side == min(picture.size) else int(size * side / min(picture.size))
        for side in picture.size
    )
    picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(picture.crop((left, top, left + size, top + size)))


class Reader:
    """The training pictures by number, each resized once as long as memory allows.

    Args:
        settings: where they lie.
        pictures: the facts of them.
        size: side of images.
        memory: bytes of resized pictures that are kept.

    Raises:
        ValueError: these are not as many pictures as the facts say.
    """

    def __init__(
        self, settings: DataConfig, pictures: Pictures, size: int, memory: int = 2**31
    ) -> None:
        root, self._size = Path(settings.data_dir or ""), size
        self._paths = chosen(settings)
        if len(self._paths) != pictures.number:
            raise ValueError(
                f"The training pictures must not change. Received: {len(self._paths)} in {root} "
                f"for {pictures.number}. Restore the folder."
            )
        number = {name: k for k, name in enumerate(pictures.classes)}
        self.labels = np.array(
            [number.get(path.relative_to(root).parts[0], 0) for path in self._paths], np.int32
        )
        self._kept: dict[int, np.ndarray] = {}
        self._most = memory // (3 * size * size)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, numbers: Sequence[int]) -> np.ndarray:
        """Returns pictures, uint8 [B, size, size, 3]."""
        return np.stack([self._picture(int(number)) for number in numbers])

    def _picture(self, number: int) -> np.ndarray:
        if number in self._kept:
            return self._kept[number]
        picture = resized(self._paths[number], self._size)
        if len(self._kept) < self._most:
            self._kept[number] = picture
        return picture

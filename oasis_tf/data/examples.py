"""Reads, checks and encodes one image and its label map for a TFRecord.

`preparation` spreads this work over processes. Nothing here imports TensorFlow, so that a worker
process starts in a fraction of a second.
"""

import dataclasses
import io
import os
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from oasis_tf.data import shapes
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.io import images, label_pictures, png_checksums
from oasis_tf.io.images import encode_png
from oasis_tf.io.label_files import read_label_map, resize_label_map

# Files of these formats are stored byte for byte, unless they lie turned; others as PNG.
_STORED_FORMATS = {"JPEG": "jpeg", "PNG": "png"}
_RULES = "upright"  # how files are read, in `identity`: others must not be taken from old shards


@dataclasses.dataclass(frozen=True)
class EncodedExample:
    """Contents of a record (see `tfrecord`), and its number of pixels of each class."""

    key: str
    image: bytes
    image_format: str
    label: bytes
    height: int
    width: int
    class_pixels: np.ndarray


class Source(Protocol):
    """The source of one example. It is pickled to worker processes."""

    key: str

    def check(self, label_space: LabelSpace) -> list[ValueError]:
        """Reads and decodes the files. Returns all that is wrong with them."""

    def encode(self, label_space: LabelSpace) -> EncodedExample:
        """Reads and encodes the example. A ValueError names the file at fault."""

    def identity(self) -> str:
        """Returns a text that changes when the example may have changed; see `preparation`."""

    def num_bytes(self) -> int:
        """Returns the approximate size of its record on disk."""


@dataclasses.dataclass(frozen=True)
class FilePair:
    """An image file and a label file.

    Attributes:
        label_format: see `label_files.read_label_map`.
    """

    key: str
    image_path: str
    label_path: str
    label_format: str = "ids"

    def check(self, label_space: LabelSpace) -> list[ValueError]:
        image, problems = _tried(read_image, self.image_path)
        label_map, found = _tried(self._label_map, label_space)
        if label_map is None:  # without classes, it may yet have a size
            picture, _ = _tried(label_pictures.read, self.label_path)
            label_map = picture and picture.pixels
        problems += found
        if image and label_map is not None:
            problems += _tried(self._check_sizes, image[2], label_map)[1]
        return problems

    def encode(self, label_space: LabelSpace) -> EncodedExample:
        image, image_format, image_size = read_image(self.image_path)
        label_map = self._label_map(label_space)
        self._check_sizes(image_size, label_map)
        return _encoded(self.key, image, image_format, label_map, label_space)

    def _label_map(self, label_space: LabelSpace) -> np.ndarray:
        return read_label_map(self.label_path, label_space, self.label_format)

    def _check_sizes(self, image_size: tuple[int, int], label_map: np.ndarray) -> None:
        _check_sizes(self.image_path, image_size, self.label_path, label_map.shape[1::-1])

    def identity(self) -> str:
        files = map(_file_identity, (self.image_path, self.label_path))
        return "|".join([_RULES, self.key, *files, self.label_format])

    def num_bytes(self) -> int:
        return os.path.getsize(self.image_path)


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """An image file and instance annotations in COCO style, as LVIS has them.

    Attributes:
        size: (height, width) of the annotated image.
        instances: (area, annotation id, class, segmentation) of each instance; a segmentation is
            a list of polygons or a run-length encoding.
    """

    key: str
    image_path: str
    size: tuple[int, int]
    instances: tuple[tuple[float, int, int, object], ...]

    def check(self, label_space: LabelSpace) -> list[ValueError]:
        return _tried(self._read)[1]

    def encode(self, label_space: LabelSpace) -> EncodedExample:
        image, image_format, raw = self._read()
        label_map = label_space.to_model_ids(raw, f"annotations of {self.image_path}")
        return _encoded(self.key, image, image_format, label_map, label_space)

    def _read(self) -> tuple[bytes, str, np.ndarray]:
        image, image_format, image_size = read_image(self.image_path)
        _check_sizes(self.image_path, image_size, "its annotation", self.size[::-1])
        raw = np.zeros(self.size, np.uint16)
        # Larger instances first, so that they do not cover smaller ones.
        for _, index, class_id, segmentation in sorted(self.instances, key=lambda x: (-x[0], x[1])):
            try:
                raw[instance_mask(segmentation, *self.size)] = class_id
            except Exception as error:  # pycocotools raises whatever it runs into
                raise ValueError(
                    f"Annotation {index} of {self.image_path} has no segmentation in COCO style "
                    f"that fits into the image ({error!r}). Correct it."
                ) from error
        return image, image_format, raw

    def identity(self) -> str:
        instances = sorted(instance[:3] for instance in self.instances)
        return "|".join([_RULES, self.key, _file_identity(self.image_path), repr(instances)])

    def num_bytes(self) -> int:
        return os.path.getsize(self.image_path)


@dataclasses.dataclass(frozen=True)
class ShapesScene:
    """A scene of the procedural data set `shapes`."""

    key: str
    seed: int
    index: int
    height: int
    width: int

    def check(self, label_space: LabelSpace) -> list[ValueError]:
        return []

    def encode(self, label_space: LabelSpace) -> EncodedExample:
        image, raw = shapes.scene(self.seed, self.index, self.height, self.width)
        label_map = label_space.to_model_ids(raw, self.key)
        return _encoded(self.key, encode_png(image), "png", label_map, label_space)

    def identity(self) -> str:
        return repr(self)

    def num_bytes(self) -> int:
        return self.height * self.width


@dataclasses.dataclass(frozen=True)
class Resized:
    """Another source, stored at the size to which training resizes it.

    The image is resized as the input pipeline does it and stored as PNG, which loses nothing. An
    example that has this size is stored as it is.
    """

    source: Source
    height: int
    width: int

    @property
    def key(self) -> str:
        return self.source.key

    def check(self, label_space: LabelSpace) -> list[ValueError]:
        return self.source.check(label_space)

    def encode(self, label_space: LabelSpace) -> EncodedExample:
        example = self.source.encode(label_space)
        size = self.height, self.width
        if (example.height, example.width) == size:
            return example
        with Image.open(io.BytesIO(example.image)) as picture:
            image = images.resample_exactly(images.colours(picture, self.key), *size)
        with Image.open(io.BytesIO(example.label)) as picture:
            label_map = resize_label_map(np.asarray(picture), *size)
        return _encoded(self.key, encode_png(image), "png", label_map, label_space)

    def identity(self) -> str:
        return f"{self.source.identity()}|{self.height}×{self.width}"

    def num_bytes(self) -> int:
        return 2 * self.height * self.width


def read_image(path: str) -> tuple[bytes, str, tuple[int, int]]:
    """Reads an image and decodes it fully, so that a damaged one is found here.

    Returns:
        (file contents, "jpeg" or "png", (width, height)). Images of other formats, and those that
        their EXIF data turn, are converted to PNG.

    Raises:
        ValueError: the file cannot be read or decoded, or breaks a rule of `images.photograph`.
    """
    with open(path, "rb") as file:
        contents = file.read()
    try:
        picture = images.decoded(contents, path)
        pixels = images.photograph(picture, path)
        if picture.format == "PNG":
            png_checksums.check_named(contents, path)
    except ValueError as error:
        raise ValueError(f"{error} Replace it or remove the pair.") from error
    size = pixels.shape[1::-1]
    if picture.format not in _STORED_FORMATS or images.is_turned(picture):
        return encode_png(pixels), "png", size
    return contents, _STORED_FORMATS[picture.format], size


def instance_mask(segmentation, height: int, width: int) -> np.ndarray:
    """Decodes polygons or a run-length encoding in COCO style to a mask, bool [height, width].

    Raises:
        ValueError: pycocotools is not installed.
    """
    coco_mask = pycocotools_mask()
    if isinstance(segmentation, list):
        code = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        code = coco_mask.frPyObjects(segmentation, height, width)
    else:
        code = segmentation
    return coco_mask.decode(code).astype(bool)


def pycocotools_mask():
    """Returns the module `pycocotools.mask`, which only LVIS needs.

    Raises:
        ValueError: it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ValueError('LVIS needs pycocotools: run `pip install "oasis-tf[lvis]"`.') from error
    return mask


def _encoded(
    key: str, image: bytes, image_format: str, label_map: np.ndarray, label_space: LabelSpace
) -> EncodedExample:
    height, width = label_map.shape
    pixels = np.bincount(label_map.ravel(), minlength=label_space.num_classes)
    return EncodedExample(key, image, image_format, encode_png(label_map), height, width, pixels)


def _tried(read: Callable, *arguments) -> tuple[object, list[ValueError]]:
    """Returns what a function returns and no error, or None and its error."""
    try:
        return read(*arguments), []
    except ValueError as error:
        return None, [error]
    except OSError as error:
        return None, [ValueError(str(error))]


def _check_sizes(
    image_path: str, image_size: Sequence[int], label_name: str, label_size: Sequence[int]
) -> None:
    if tuple(image_size) != tuple(label_size):
        raise ValueError(
            f"{image_path} is {image_size[0]}×{image_size[1]} but {label_name} is "
            f"{label_size[0]}×{label_size[1]} (width×height, turned as EXIF data say); sizes must "
            "be equal."
        )


def _file_identity(path: str) -> str:
    status = os.stat(path)
    return f"{path}:{status.st_size}:{status.st_mtime_ns}"

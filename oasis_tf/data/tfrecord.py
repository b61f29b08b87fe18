"""Prepared data sets on disk: the record schema, TFRecord shards and `dataset.json`.

A prepared data set is a folder of shards `SPLIT-00000-of-00008.tfrecord` with one `dataset.json`.
That file is written last: a folder without it is not a data set. Records are `tf.train.Example`s:

    key           bytes  name of the image, unique in its split
    image         bytes  JPEG or PNG file, height × width
    image_format  bytes  "jpeg" or "png"
    label         bytes  PNG of model ids, 8 bits (or 16 for more than 256 classes), same size
    height, width int64
"""

import contextlib
import dataclasses
import functools
import os
import struct
from collections.abc import Iterable, Mapping

import tensorflow as tf

from oasis_tf.data.datasets import LabelSpace
from oasis_tf.io import files, json_files
from oasis_tf.io.files import file_sha256
from oasis_tf.io.paths import local_path

FORMAT_VERSION = 1
METADATA_FILE = "dataset.json"
SPLITS = ("train", "val")
REMEDY = (
    "Restore the file or prepare the data set again with --overwrite; or leave out what cannot be "
    "read with --skip_corrupt."
)
# A record in a shard: its length (8 bytes), a checksum of that (4), the contents, their checksum.
_LENGTH_BYTES = 8
_HEADER_BYTES = 12
_FOOTER_BYTES = 4

SCHEMA = {
    "key": tf.io.FixedLenFeature([], tf.string),
    "image": tf.io.FixedLenFeature([], tf.string),
    "image_format": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.string),
    "height": tf.io.FixedLenFeature([], tf.int64),
    "width": tf.io.FixedLenFeature([], tf.int64),
}


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """One finished shard: file name, records, size in bytes and SHA-256 of the file."""

    file: str
    num_examples: int
    num_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class SplitInfo:
    """The shards of a split, and how many pixels and images have each class (in model-id order).

    `class_images` is empty if the data set was prepared before it was counted.
    """

    shards: tuple[ShardInfo, ...]
    class_pixels: tuple[int, ...]
    class_images: tuple[int, ...] = ()

    @property
    def num_examples(self) -> int:
        """Records in all shards."""
        return sum(shard.num_examples for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.num_bytes for shard in self.shards)


@dataclasses.dataclass(frozen=True)
class PreparedDataset:
    """A prepared data set: the folder that `oasis_tf.prepare` wrote.

    `synthetic` is None for real images. For generated ones it holds model, step and seeds.
    `training_size` is the (height, width) to which the images of "train" were resized, or None.
    """

    data_dir: str
    label_space: LabelSpace
    splits: Mapping[str, SplitInfo]
    synthetic: Mapping | None = None
    training_size: tuple[int, int] | None = None

    @property
    def class_frequency(self) -> tuple[float, ...]:
        """Share of each class, unknown included, in the training pixels (sums to 1)."""
        pixels = self.splits["train"].class_pixels
        return tuple(count / sum(pixels) for count in pixels)

    def num_examples(self, split: str) -> int:
        """Records in a split. Raises ValueError if the data set does not have it."""
        return self._split(split).num_examples

    def shard_paths(self, split: str) -> list[str]:
        """Files of a split in order. Raises ValueError if the data set does not have it."""
        return [os.path.join(self.data_dir, shard.file) for shard in self._split(split).shards]

    def save(self) -> None:
        """Writes `dataset.json`, which marks the folder as complete."""
        splits = {
            name: {
                "num_examples": split.num_examples,
                "class_pixels": list(split.class_pixels),
                "class_images": list(split.class_images),
                "shards": [dataclasses.asdict(shard) for shard in split.shards],
            }
            for name, split in self.splits.items()
        }
        values = {
            "format_version": FORMAT_VERSION,
            "label_space": self.label_space.to_json(),
            "class_frequency": self.class_frequency,
            "splits": splits,
        }
        if self.synthetic is not None:
            values["synthetic"] = dict(self.synthetic)
        if self.training_size is not None:
            values["training_size"] = list(self.training_size)
        write_json(os.path.join(self.data_dir, METADATA_FILE), values)

    @classmethod
    def load(cls, data_dir: str, *, skip_corrupt: bool = False) -> "PreparedDataset":
        """Reads `dataset.json` and checks that every shard exists and has its full size.

        Args:
            data_dir: prepared data set; a local path, `~` is the home folder.
            skip_corrupt: do not check the shards here; `verification` checks their records.

        Raises:
            FileNotFoundError: `data_dir` was not prepared completely, or a shard is missing.
            ValueError: `dataset.json` is damaged or of another format version, or a shard has
                another size than it states.
        """
        data_dir = local_path(data_dir)
        path = os.path.join(data_dir, METADATA_FILE)
        if not os.path.isfile(path):
            problem = "does not exist" if not os.path.isdir(data_dir) else f"has no {METADATA_FILE}"
            raise FileNotFoundError(
                f"{data_dir} is not a prepared data set: it {problem}. Run `python -m "
                f"oasis_tf.prepare --output={data_dir} …` (again, if it was interrupted)."
            )
        status = os.stat(path)
        state = status.st_ino, status.st_mtime_ns, status.st_size
        prepared = cls(data_dir, **_described(path, state))
        if not skip_corrupt:
            prepared._check_shards()
        return prepared

    def check_classes(self, label_space: LabelSpace, model: str = "a model") -> None:
        """Raises ValueError unless data set and model have the same classes.

        Args:
            label_space: label space of the model.
            model: name of the model in the error.
        """
        ours, theirs = label_space, self.label_space
        if (ours.class_names, ours.has_unknown) != (theirs.class_names, theirs.has_unknown):
            raise ValueError(
                f"The model and the data set must have the same classes. Received: {model} of "
                f"{ours.num_classes} classes ({ours.dataset}) and a data set of "
                f"{theirs.num_classes} classes ({theirs.dataset}) in {self.data_dir}. Give the "
                "data set that the model was trained on, or another one with the same classes."
            )

    def check_training_size(self, height: int, width: int) -> None:
        """Raises ValueError if training at this size would enlarge what `prepare` made smaller."""
        stored = self.training_size
        if stored and (height > stored[0] or width > stored[1]):
            raise ValueError(
                f"The training images in {self.data_dir} were stored at {stored[0]}×{stored[1]} "
                f"(height×width), and training would enlarge them to {height}×{width}. Prepare the "
                f"data set again with --resize_height={height} --resize_width={width} or without "
                f"these flags, or train with --resize_height={stored[0]} "
                f"--resize_width={stored[1]}."
            )

    def _split(self, split: str) -> SplitInfo:
        if split not in self.splits:
            remedy = (
                " Prepare it again with validation images (--val_image_dir, --val_label_dir)."
                if split == "val"
                else ""
            )
            raise ValueError(
                f"{self.data_dir} has no split {split!r}, only {', '.join(self.splits)}.{remedy}"
            )
        return self.splits[split]

    def _check_shards(self) -> None:
        for split in self.splits.values():
            for shard in split.shards:
                path = os.path.join(self.data_dir, shard.file)
                if not os.path.isfile(path):
                    raise FileNotFoundError(
                        f"{path} is missing, and with it {shard.num_examples} records. {REMEDY}"
                    )
                size = os.path.getsize(path)
                if size != shard.num_bytes:
                    raise ValueError(
                        f"{path} has {size} bytes instead of {shard.num_bytes}: it is damaged or "
                        f"belongs to another data set. {_whole_records(path, shard)} {REMEDY}"
                    )


def load_for_model(
    data_dir: str | None, trained_on: str | None, *, skip_corrupt: bool = False
) -> PreparedDataset:
    """Loads the data set to use a model with.

    Args:
        data_dir: prepared data set that was asked for, or None for `trained_on`.
        trained_on: `data_dir` in the configuration of the model, or None.
        skip_corrupt: see `PreparedDataset.load`.

    Raises:
        ValueError: both are None.
        ValueError, FileNotFoundError: see `PreparedDataset.load`. If `data_dir` is None, the error
            asks for it.
    """
    if not (data_dir or trained_on):
        raise ValueError(
            "The model names no data set that it was trained on. Give a prepared one: "
            "--data_dir=DIR."
        )
    try:
        return PreparedDataset.load(data_dir or trained_on, skip_corrupt=skip_corrupt)
    except (ValueError, FileNotFoundError) as error:
        if data_dir:
            raise
        raise type(error)(f"{error} If the data set has moved, give its new --data_dir.") from error


def _whole_records(path: str, shard: ShardInfo) -> str:
    whole = len(record_starts(path)) - 1
    if whole >= shard.num_examples:
        return f"It holds {whole} records; {METADATA_FILE} states {shard.num_examples}."
    return (
        f"Record {whole} (counted from 0) is not whole; {METADATA_FILE} states "
        f"{shard.num_examples} records."
    )


def shard_name(split: str, index: int, num_shards: int) -> str:
    """Returns the file name of a shard, such as `train-00002-of-00008.tfrecord`."""
    return f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord"


def serialize_example(
    *, key: str, image: bytes, image_format: str, label: bytes, height: int, width: int
) -> bytes:
    """Encodes one record (schema above). Equal arguments give equal bytes."""
    values = {
        "key": key.encode(),
        "image": image,
        "image_format": image_format.encode(),
        "label": label,
    }
    feature = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, value in values.items()
    }
    for name, value in (("height", height), ("width", width)):
        feature[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def parse_example(record: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses one record: scalar tensors by field name. Images are not decoded."""
    return tf.io.parse_single_example(record, SCHEMA)


def write_shard(path: str, records: Iterable[bytes]) -> ShardInfo:
    """Writes records to a file aside and renames it to `path` when it is complete on disk.

    Raises:
        OSError: `path` cannot be written (no permission, disk full); no file is left.
    """
    count = 0
    with (
        _explained(path),
        files.written_aside(path) as aside,
        tf.io.TFRecordWriter(aside) as writer,
    ):
        for record in records:
            writer.write(record)
            count += 1
    return ShardInfo(os.path.basename(path), count, os.path.getsize(path), file_sha256(path))


def record_starts(path: str) -> list[int]:
    """Returns the first byte of every whole record of a shard, and the end of the last one.

    Follows the stored lengths, so it stops at the first wrong one. Contents are not checked.

    Raises:
        OSError: the file cannot be read.
    """
    starts = [0]
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while starts[-1] + _LENGTH_BYTES <= size:
            file.seek(starts[-1])
            (length,) = struct.unpack("<Q", file.read(_LENGTH_BYTES))
            end = starts[-1] + _HEADER_BYTES + length + _FOOTER_BYTES
            if end > size:
                break
            starts.append(end)
    return starts


def contents_unchecked(path: str, start: int, end: int) -> bytes:
    """Returns the contents of the record at bytes [start, end) of a shard; ignores checksums."""
    with open(path, "rb") as file:
        file.seek(start + _HEADER_BYTES)
        return file.read(end - start - _HEADER_BYTES - _FOOTER_BYTES)


def write_json(path: str, values: dict) -> None:
    """Writes a JSON file with its digest (see `json_files`) aside and renames it.

    Raises:
        OSError: `path` cannot be written; an existing file stays unchanged.
    """
    with _explained(path):
        json_files.write(path, values, indent=1)


@contextlib.contextmanager
def _explained(path: str):
    """Turns errors of writing `path` into an OSError that says what to do."""
    try:
        yield
    except tf.errors.OpError as error:
        raise unwritable(path, error.message) from error
    except OSError as error:
        raise unwritable(path, error.strerror or str(error)) from error


def unwritable(path: str, reason: str) -> OSError:
    """Returns the error for a file or folder of a data set that cannot be written."""
    return OSError(
        f"Cannot write {path}: {reason}. The data set is not prepared. Make room there or make it "
        "writable (or choose another --output), then run the same command again: finished shards "
        "are kept."
    )


@functools.lru_cache(maxsize=8)
def _described(path: str, state: tuple) -> dict:
    """Reads `dataset.json` once for each `state`: values by attribute of `PreparedDataset`."""
    del state
    values = _read_metadata(path)
    try:
        splits = {
            name: SplitInfo(
                tuple(ShardInfo(**shard) for shard in split["shards"]),
                tuple(split["class_pixels"]),
                tuple(split.get("class_images", ())),
            )
            for name, split in values["splits"].items()
        }
        label_space = LabelSpace.from_json(values["label_space"])
        height_width = values.get("training_size")
        training_size = height_width and tuple(map(int, height_width))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_a_description(path, error) from error
    return {
        "label_space": label_space,
        "splits": splits,
        "synthetic": values.get("synthetic"),
        "training_size": training_size,
    }


def _read_metadata(path: str) -> dict:
    try:
        values = json_files.read(path)
    except ValueError as error:
        remedy = "Or else: Prepare the data set again with --overwrite."
        raise ValueError(f"{error} {remedy}") from error
    if not isinstance(values, dict) or "format_version" not in values:
        raise _not_a_description(path, "no format_version")
    if values["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {values['format_version']}; this oasis_tf reads version "
            f"{FORMAT_VERSION}. Prepare the data set again with --overwrite."
        )
    return values


def _not_a_description(path: str, problem: Exception | str) -> ValueError:
    return ValueError(
        f"{path} is not the description of a prepared data set ({problem!r}). Prepare the data "
        "set again with --overwrite."
    )

"""Tiny data sets for the tests of the data package."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data import tfrecord
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.data.tfrecord import PreparedDataset, SplitInfo


def encode(array, image_format="PNG"):
    """Encodes an array as an image file (bytes)."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, image_format)
    return buffer.getvalue()


def serialize(key, image, label, size):
    """Makes a record of encoded files; size is (height, width)."""
    return tfrecord.serialize_example(
        key=key, image=image, image_format="png", label=label, height=size[0], width=size[1]
    )


@pytest.fixture(scope="session")
def png():
    """function(array) -> bytes of a PNG file."""
    return encode


@pytest.fixture(scope="session")
def write_pairs():
    """A function that writes random images and label PNGs of the same names."""

    def write(
        image_dir,
        label_dir,
        names,
        values=range(4),
        size=(10, 12),
        image_suffix=".jpg",
        label_suffix=".png",
        dtype=np.uint8,
        seed=0,
    ):
        rng = np.random.default_rng(seed)
        for name in names:
            image, label = (
                Path(image_dir) / f"{name}{image_suffix}",
                Path(label_dir) / f"{name}{label_suffix}",
            )
            for path in (image, label):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(image)
            Image.fromarray(rng.choice(list(values), size).astype(dtype)).save(label)

    return write


@pytest.fixture(scope="session")
def write_dataset():
    """A function that writes a prepared data set from arrays, without `preparation`."""

    def write(data_dir, images, label_maps, num_classes, num_shards=1):
        Path(data_dir).mkdir(parents=True, exist_ok=True)
        records = [
            serialize(f"record {k}", encode(image), encode(label_map), label_map.shape)
            for k, (image, label_map) in enumerate(zip(images, label_maps, strict=True))
        ]
        splits = {}
        for split in tfrecord.SPLITS:
            shards = [
                tfrecord.write_shard(
                    f"{data_dir}/{tfrecord.shard_name(split, k, num_shards)}",
                    records[k::num_shards],
                )
                for k in range(num_shards)
            ]
            pixels = np.sum([np.bincount(m.ravel(), minlength=num_classes) for m in label_maps], 0)
            splits[split] = SplitInfo(tuple(shards), tuple(pixels.tolist()))
        PreparedDataset(str(data_dir), folder_label_space(num_classes), splits).save()
        return str(data_dir)

    return write


SHARD_SIZES = (5, 6, 4)


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of a data set of 4 classes, shard by shard; both splits are equal.

    The image of record k is 6×9 with colours (k, y, x); its label map is k mod 4.
    """

    shards: list[list[bytes]]

    def save(self, data_dir):
        """Writes shards and dataset.json; returns the paths of the training shards."""
        Path(data_dir).mkdir(parents=True, exist_ok=True)
        splits = {}
        for split in tfrecord.SPLITS:
            names = [f"{split}-{k:05d}-of-00003.tfrecord" for k in range(len(self.shards))]
            shards = [
                tfrecord.write_shard(f"{data_dir}/{name}", records)
                for name, records in zip(names, self.shards, strict=True)
            ]
            splits[split] = SplitInfo(tuple(shards), (1, 1, 1, 1))
        prepared = PreparedDataset(str(data_dir), folder_label_space(4), splits)
        prepared.save()
        return prepared.shard_paths("train")


def sound_record(k, **changes):
    """Record k of `Records`, with some of its parts replaced."""
    y, x = np.mgrid[:6, :9]
    image = np.stack([np.full_like(y, k), y, x], -1).astype(np.uint8)
    label = np.full((6, 9), k % 4, np.uint8)
    parts = {"key": f"straße {k}", "image": encode(image), "label": encode(label), "size": (6, 9)}
    return serialize(**parts | changes)


@pytest.fixture(scope="session")
def make_records():
    """function() -> `Records`: 15 sound records in 3 shards."""

    def make():
        numbers = iter(range(sum(SHARD_SIZES)))
        return Records([[sound_record(next(numbers)) for _ in range(n)] for n in SHARD_SIZES])

    return make


@pytest.fixture
def records(make_records):
    """15 sound records in 3 shards."""
    return make_records()


@pytest.fixture(scope="session")
def make_record():
    """function(k, **replaced parts: key, image, label, size) -> serialized record."""
    return sound_record


@pytest.fixture(scope="session")
def flip():
    """A function that flips a bit of a record in a shard: in its contents or in its length."""

    def flip_bit(path, record, *, in_length=False):
        start, end = tfrecord.record_starts(path)[record : record + 2]
        contents = bytearray(Path(path).read_bytes())
        contents[start + 5 if in_length else (start + end) // 2] ^= 64
        Path(path).write_bytes(contents)

    return flip_bit

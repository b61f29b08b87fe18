"""Tiny data sets for the tests of the data package."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data import tfrecord
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.data.tfrecord import PreparedDataset, SplitInfo


def encode(array, image_format="PNG"):
    """An array as the bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, image_format)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def png():
    """Function: array to the bytes of a PNG file."""
    return encode


@pytest.fixture(scope="session")
def write_pairs():
    """Function that writes random images and label PNGs of the same names."""

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
    """Function that writes a prepared data set from arrays, without `preparation`."""

    def write(data_dir, images, label_maps, num_classes, num_shards=1):
        Path(data_dir).mkdir(parents=True, exist_ok=True)
        records = [
            tfrecord.serialize_example(
                key=f"record {k}",
                image=encode(image),
                image_format="png",
                label=encode(label_map),
                height=label_map.shape[0],
                width=label_map.shape[1],
            )
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

"""A data set that a segmenter learns in seconds: the colour of a pixel tells its class."""

import io

import numpy as np
import pytest
from PIL import Image

from oasis_tf.data import tfrecord
from oasis_tf.data.datasets import folder_label_space

COLOURS = np.array([(90, 90, 90), (230, 40, 40), (40, 230, 40), (40, 40, 230)])


def png(array):
    """An array as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def scene(rng, size):
    """Blocks of 16 pixels of one class; unknown ones (model id 0) have a random class's colour."""
    label_map = rng.integers(0, 4, (size // 16, size // 16)).repeat(16, 0).repeat(16, 1)
    shown = np.where(label_map == 0, rng.integers(1, 4), label_map)
    image = np.clip(COLOURS[shown] + rng.normal(0, 15, (size, size, 1)), 0, 255)
    return image.astype(np.uint8), label_map.astype(np.uint8)


def write_dataset(data_dir, counts, seed=0, size=64):
    """Writes a prepared data set of `counts`, split -> number of scenes."""
    rng = np.random.default_rng(seed)
    splits = {}
    for split, count in counts.items():
        scenes = [scene(rng, size) for _ in range(count)]
        records = [
            tfrecord.serialize_example(
                key=f"{k}", image=png(image), image_format="png", label=png(label_map),
                height=size, width=size,
            )
            for k, (image, label_map) in enumerate(scenes)
        ]  # fmt: skip
        shard = tfrecord.write_shard(str(data_dir / tfrecord.shard_name(split, 0, 1)), records)
        pixels = sum(np.bincount(label_map.ravel(), minlength=4) for _, label_map in scenes)
        splits[split] = tfrecord.SplitInfo((shard,), tuple(pixels.tolist()))
    space = folder_label_space(4, unknown_label=0, class_names=["red", "green", "blue"])
    dataset = tfrecord.PreparedDataset(str(data_dir), space, splits)
    dataset.save()
    return tfrecord.PreparedDataset.load(str(data_dir))


@pytest.fixture(scope="session")
def colour_dataset(tmp_path_factory):
    """48 training and 5 validation scenes of 64×64 in four classes, the first of them unknown."""
    return write_dataset(tmp_path_factory.mktemp("colours"), {"train": 48, "val": 5})

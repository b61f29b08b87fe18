"""Records of a prepared data set one by one, in any order."""

import dataclasses
import io

import numpy as np
import tensorflow as tf
from PIL import Image

from oasis_tf.data import tfrecord
from oasis_tf.io import images


@dataclasses.dataclass(frozen=True)
class RecordPlace:
    """The place of a record: bytes [start, end) of a shard with this SHA-256."""

    shard_path: str
    shard_sha256: str
    start: int
    end: int

    def fields(self):
        """Key (str), image file and label file (bytes) of the record.

        Raises:
            ValueError: the record is damaged; the error names its shard and place.
        """
        parsed = self._parsed()
        return parsed["key"].decode(), parsed["image"], parsed["label"]

    def size(self):
        """(height, width) as stored in the record. Nothing is decoded."""
        parsed = self._parsed()
        return int(parsed["height"]), int(parsed["width"])

    def _parsed(self):
        contents = tfrecord.contents_unchecked(self.shard_path, self.start, self.end)
        try:
            return {k: v.numpy() for k, v in tfrecord.parse_example(contents).items()}
        except tf.errors.OpError as error:
            raise ValueError(
                f"The record at byte {self.start} of {self.shard_path} is damaged. "
                f"{tfrecord.REMEDY}"
            ) from error

    def read(self):
        """Decodes the record: (key, image uint8 [H, W, 3], label map of model ids [H, W]).

        Raises:
            ValueError: the record is damaged.
        """
        key, image, label = self.fields()
        return key, self._decoded(image, colours=True), self._decoded(label)

    def read_label(self):
        """Decodes all but the image of the record: (key, label map of model ids [H, W])."""
        key, _, label = self.fields()
        return key, self._decoded(label)

    def _decoded(self, contents, colours=False):
        try:
            with Image.open(io.BytesIO(contents)) as picture:
                return images.colours(picture, "The image") if colours else np.asarray(picture)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(
                f"An image in the record at byte {self.start} of {self.shard_path} is damaged. "
                f"{tfrecord.REMEDY}"
            ) from error


def record_places(prepared, split):
    """Returns the places of all records of a split, in file order.

    Args:
        prepared: `PreparedDataset`.
        split: one of its splits.

    Raises:
        ValueError: no such split, or a shard without the number of records in `dataset.json`.
    """
    places = []
    shards = prepared.shard_paths(split), prepared.splits[split].shards
    for path, shard in zip(*shards, strict=True):
        starts = tfrecord.record_starts(path)
        if len(starts) - 1 != shard.num_examples:
            raise ValueError(
                f"{path} holds {len(starts) - 1} whole records; {tfrecord.METADATA_FILE} states "
                f"{shard.num_examples}. {tfrecord.REMEDY}"
            )
        bounds = zip(starts[:-1], starts[1:], strict=True)
        places += [RecordPlace(path, shard.sha256, start, end) for start, end in bounds]
    return places

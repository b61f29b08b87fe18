"""Which records of a split a stream reads, as `tf.data`, and decoding that never fails.

What cannot be read becomes an empty record and what cannot be decoded an empty example, so that
damage does not break a stream where it is read, far ahead of where it is used. What uses the
example refuses it by name (`damage.checked`).
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from oasis_tf.data import tfrecord
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.tfrecord import PreparedDataset

_BUFFER_BYTES = 256 * 1024  # as tf.data.TFRecordDataset has it
_PNG_TYPE_AT = 24  # bit depth and colour type of a PNG lie here


@dataclasses.dataclass(frozen=True)
class Run:
    """Records that follow each other in a shard.

    Attributes:
        shard: place of the shard in its split.
        offset: byte of the shard at which the first record begins.
        first: index of the first record in the shard.
        count: how many they are.
    """

    shard: int
    offset: int
    first: int
    count: int


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of a split that a stream reads.

    As a data set, a record is (shard int64, index in the shard int64, contents string). If it
    cannot be read, its contents are empty, and so are those of the records after it in its run.

    Attributes:
        paths: every shard of the split.
        runs: sorted by shard and index.
    """

    paths: tuple[str, ...]
    runs: tuple[Run, ...]

    @classmethod
    def listed(cls, prepared: PreparedDataset, split: str) -> "Records":
        """All that `dataset.json` lists. Raises ValueError if there is no such split."""
        paths = prepared.shard_paths(split)
        shards = enumerate(prepared.splits[split].shards)
        runs = (Run(place, 0, 0, shard.num_examples) for place, shard in shards)
        return cls(tuple(paths), tuple(runs))

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(run.count for run in self.runs)

    def of_runs(self, *runs: Run) -> "Records":
        """The records of other runs of the same shards."""
        return dataclasses.replace(self, runs=runs)

    def in_shard(self, shard: tf.Tensor) -> tf.data.Dataset:
        """Those of one shard (int64 []), in order."""
        bounds = np.searchsorted([run.shard for run in self.runs], range(len(self.paths) + 1))
        rows = [(run.offset, run.first, run.count) for run in self.runs]
        table = tf.reshape(tf.constant(rows, tf.int64), [-1, 3])
        bounds, paths = tf.constant(bounds, tf.int64), tf.constant(self.paths)
        mine = table[bounds[shard] : bounds[shard + 1]]
        return tf.data.Dataset.from_tensor_slices(mine).flat_map(
            lambda row: _run(shard, paths[shard], *tf.unstack(row, num=3))
        )

    def in_file_order(self) -> tf.data.Dataset:
        """All of them, one shard after the other."""
        shards = tf.data.Dataset.range(len(self.paths))
        return shards.flat_map(self.in_shard)


def _run(shard, path, offset, first, count) -> tf.data.Dataset:
    # Of a file that cannot even be opened, `ignore_errors` would try to read for ever.
    probe = attempt(
        lambda x: _reader(x, offset).take(1).get_single_element(), path, tf.constant("")
    )
    contents = (
        _reader(path, offset)
        .ignore_errors()
        .take(tf.where(probe == "", tf.constant(0, tf.int64), count))
    )
    shards = tf.data.Dataset.from_tensors(shard).repeat()
    indices = tf.data.Dataset.range(first, first + count)
    nothing = tf.data.Dataset.from_tensors("").repeat()
    return tf.data.Dataset.zip(shards, indices, contents.concatenate(nothing))


def _reader(path: tf.Tensor, offset: tf.Tensor) -> tf.data.Dataset:
    """Contents of the records of a shard, from a byte of it on."""
    # The only reader that can begin inside a file. tf.data cannot serialize it at the top of a
    # pipeline, only inside a function.
    reader = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path],
        compression_type="",
        buffer_size=_BUFFER_BYTES,
        byte_offsets=tf.reshape(offset, [1]),
    )
    return tf.data.experimental.from_variant(reader, tf.TensorSpec([], tf.string))


def decode(contents: tf.Tensor, space: LabelSpace) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decodes a record that may be damaged; for functions of `Dataset.map`.

    Returns:
        (image uint8 [h, w, 3], label map [h, w] of the label space's type, whether the record is
        sound: bool []). Where it is not, image and label map must not be used.
    """
    nothing = (tf.zeros([0, 0, 3], tf.uint8), tf.zeros([0, 0], space.dtype), False)
    return attempt(lambda x: _decoded(x, space), contents, nothing)


def attempt(function: Callable, argument: tf.Tensor, otherwise):
    """`function(argument)`; or `otherwise`, tensors of the same types, if it fails."""
    result = tf.data.Dataset.from_tensors(argument).map(function).ignore_errors()
    result = result.concatenate(tf.data.Dataset.from_tensors(otherwise))
    return result.take(1).get_single_element()


def _decoded(contents: tf.Tensor, space: LabelSpace) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    fields = tfrecord.parse_example(contents)
    image, label_map = decode_image(fields["image"]), decode_label(fields["label"], space)
    size = tf.stack([fields["height"], fields["width"]])
    sound = [tf.reduce_all(tf.shape(x, tf.int64)[:2] == size) for x in (image, label_map)]
    known = tf.cast(tf.reduce_max(label_map), tf.int32) < space.num_classes
    sound += [is_label_png(fields["label"], space), known]
    return image, label_map, tf.reduce_all(sound)


def decode_image(contents: tf.Tensor) -> tf.Tensor:
    """JPEG or PNG file, told by its first bytes, to uint8 [h, w, 3]."""
    # The accurate inverse transform is what other decoders (Pillow, browsers) use; TensorFlow's
    # default is another.
    return tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")


def decode_label(contents: tf.Tensor, space: LabelSpace) -> tf.Tensor:
    """PNG file to a label map [h, w] of the label space's type."""
    return tf.io.decode_png(contents, channels=1, dtype=space.dtype)[..., 0]


def is_label_png(contents: tf.Tensor, space: LabelSpace) -> tf.Tensor:
    """Whether a PNG is grey with the label space's bits; others would be decoded to other ids."""
    return tf.strings.substr(contents, _PNG_TYPE_AT, 2) == bytes([8 * space.dtype.itemsize, 0])

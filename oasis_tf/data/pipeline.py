"""Batches for training and evaluation with `tf.data`.

The training stream is endless and a pure function of (seed, step). With n examples, stream position
p lies in epoch p // n. The order of an epoch depends on (seed, epoch), crop and flip on (seed, p).
So batch k is the same whether the stream starts at step 0 or at step k, and a slice of its rows has
the same examples. Global seeds (`tf.random.set_seed`) have no effect. Training resizes, crops and
flips as in the OASIS paper (ICLR 2021, section 4, with the sizes of each data set).

A record that cannot be read or decoded, or whose parts contradict each other, fails its batch with
`tf.errors.InvalidArgumentError`. The message names shard, record and remedy;
`damage.plain_errors` turns it into one line. Earlier batches are not affected. With `skip_corrupt`
the records are verified before the stream begins (once per process), and n counts only the usable
ones (`verification`).
"""

from collections.abc import Sequence

import tensorflow as tf

from oasis_tf.data import damage, reading, verification
from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.reading import Records
from oasis_tf.data.tfrecord import PreparedDataset

# Records are shuffled before they are decoded, in windows of at most this many records and bytes.
# If the data set fits into one window, an epoch is a full permutation. Otherwise a window holds
# records of 16 shards, chosen again for every epoch, and `prepare` stores records in random order.
SHUFFLE_RECORDS = 4096
SHUFFLE_BYTES = 512 * 2**20
_OPEN_SHARDS = 16  # read in turns; fixed, because the order of records depends on it
_ORDER, _AUGMENTATION = 1, 2  # separate keys for the two kinds of random numbers


def training_batches(
    data_dir: str,
    *,
    crop_height: int,
    crop_width: int,
    resize_height: int | None = None,
    resize_width: int | None = None,
    flip: bool = True,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    rows: tuple[int, int] | None = None,
    skip_corrupt: bool = False,
) -> tf.data.Dataset:
    """Returns endless training batches, starting with the batch of step `start_step`.

    Args:
        data_dir: prepared data set.
        crop_height, crop_width: size of the random crop.
        resize_height, resize_width: size before the crop; default: the size of the crop.
        flip: whether to mirror half of the examples.
        batch_size: B, size of the global batch.
        seed: seed of all random choices.
        start_step: first step; earlier batches are skipped without decoding them.
        rows: (a, b): decode only rows a…b−1 of each global batch; default: all.
        skip_corrupt: skip records that cannot be used instead of failing on them.

    Returns:
        Data set of (image uint8 [B, H, W, 3], label map [B, H, W] of model ids), with B = b − a if
        `rows` is given. Label maps are uint8, or int32 for more than 256 classes.

    Raises:
        ValueError, OSError: an argument is invalid, `data_dir` is not a complete prepared data set,
            or no record can be used.
    """
    resize = (resize_height or crop_height, resize_width or crop_width)
    crop = (crop_height, crop_width)
    first, last = rows or (0, batch_size)
    _check_sizes(resize, crop)
    _check_batch(batch_size, start_step, first, last)
    prepared = PreparedDataset.load(data_dir, skip_corrupt=skip_corrupt)
    prepared.check_training_size(*resize)
    records = verification.usable_records(prepared, "train", skip_corrupt)

    def in_rows(position, _):
        row = position % batch_size
        return (row >= first) & (row < last)

    def example(position, record):
        image, label_map = _decode(record, records, prepared.label_space)
        top, left, mirrored = _augmentation(seed, position, resize, crop, flip)
        return (
            _crop_image(_resize_image(image, resize), top, left, crop, mirrored),
            _resize_labels(label_map, resize, top, left, crop, mirrored),
        )

    window = _window(prepared, "train")
    stream = _training_stream(records, window, seed, start_step * batch_size)
    if (first, last) != (0, batch_size):
        stream = stream.filter(in_rows)
    examples = stream.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    return _finish(examples.batch(last - first, drop_remainder=True))


def evaluation_batches(
    data_dir: str,
    split: str,
    *,
    height: int,
    width: int,
    batch_size: int,
    every: int = 1,
    at: Sequence[int] | None = None,
    skip_corrupt: bool = False,
) -> tf.data.Dataset:
    """Returns every example of a split once, in file order, resized.

    Args:
        data_dir: prepared data set.
        split: one of its splits.
        height, width: size of the examples.
        batch_size: examples per batch; the last batch may be smaller.
        every: k: only every k-th example, starting with the first; the others are not decoded.
        at: only the examples at these places, counted from 0; the others are not decoded.
        skip_corrupt: skip records that cannot be used instead of failing on them.

    Returns:
        Data set of (image uint8 [B, height, width, 3], label map uint8 or int32
        [B, height, width]).

    Raises:
        ValueError, OSError: an argument is invalid, there is no such split, `data_dir` is not a
            complete prepared data set, or no record can be used.
    """
    size = (height, width)
    _check_sizes(size, size)
    _check_batch(batch_size, 0, 0, batch_size)
    prepared = PreparedDataset.load(data_dir, skip_corrupt=skip_corrupt)
    records = verification.usable_records(prepared, split, skip_corrupt)

    def example(*record):
        image, label_map = _decode(record, records, prepared.label_space)
        return _resize_image(image, size), _resize_labels(label_map, size, 0, 0, size, False)

    chosen = records.in_file_order().shard(every, 0)
    if at is not None:
        places = tf.constant(at, tf.int64)
        numbered = chosen.enumerate().filter(lambda place, _: tf.reduce_any(place == places))
        chosen = numbered.map(lambda _, record: record)
    examples = chosen.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    return _finish(examples.batch(batch_size))


def spread_places(count: int, most: int) -> list[int]:
    """Returns the middles of equal parts of `count` places, of at most `most` parts."""
    parts = min(most, count)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]


# === Order ===


def _window(prepared: PreparedDataset, split: str) -> int:
    record_bytes = prepared.splits[split].num_bytes / prepared.num_examples(split)
    return max(1, min(SHUFFLE_RECORDS, int(SHUFFLE_BYTES / record_bytes)))


def _training_stream(records: Records, window: int, seed: int, start: int) -> tf.data.Dataset:
    """Returns endless (stream position int64, record as in `Records`), starting at `start`."""
    count = records.count
    windows = tf.data.Dataset.range(start // count, tf.int64.max).flat_map(
        lambda epoch: _epoch_windows(records, window, _seed(seed, _ORDER, epoch))
    )
    # While one window is in use the next one is read, also across the end of an epoch.
    stream = windows.prefetch(1).unbatch().skip(start % count)
    return tf.data.Dataset.zip(tf.data.Dataset.range(start, tf.int64.max), stream)


def _epoch_windows(records: Records, window: int, seed: tf.Tensor) -> tf.data.Dataset:
    """Returns the records of all shards in the order of one epoch, cut into windows."""
    # Dataset.shuffle would use the global seed, and its state could not be restored when training
    # is resumed. Whole windows are permuted with stateless random numbers instead.
    shards = tf.range(len(records.paths), dtype=tf.int64)
    taken = tf.data.Dataset.from_tensor_slices(_shuffle(shards, seed)).interleave(
        records.in_shard,
        cycle_length=_OPEN_SHARDS,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    windows = taken.batch(window).enumerate()
    return windows.map(lambda index, record: _shuffled(record, _fold(seed, index + 1)))


def _shuffled(parts: tuple[tf.Tensor, ...], seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Permutes tensors of equal length in the same way."""
    order = _shuffle(tf.range(tf.shape(parts[0])[0]), seed)
    return tuple(tf.gather(part, order) for part in parts)


def _shuffle(values: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_shuffle(values, seed, alg="philox")


def _seed(seed: int, family: int, index: tf.Tensor) -> tf.Tensor:
    """Returns the seed [2] of random numbers of one kind (`_ORDER` or `_AUGMENTATION`)."""
    return _fold(_fold(tf.constant([seed, 0], tf.int64), family), index)


def _fold(seed: tf.Tensor, index: tf.Tensor | int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, index, alg="philox")


# === One example ===


def _decode(record, records: Records, space: LabelSpace) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns image uint8 [h, w, 3] and label map [h, w] of a record."""
    image, label_map, sound = reading.decode(record[-1], space)
    return damage.checked((image, label_map), sound, record, records)


def _augmentation(seed: int, position, resize, crop, flip: bool):
    """Samples top and left of the crop (int32) and whether to mirror (bool) for a position."""
    words = tf.random.stateless_uniform(
        [3], _seed(seed, _AUGMENTATION, position), None, None, tf.uint32, alg="philox"
    )
    # The remainder of 32 random bits is uniform to one part in a million for any image size.
    choices = tf.constant([resize[0] - crop[0] + 1, resize[1] - crop[1] + 1, 2], tf.uint32)
    top, left, mirrored = tf.unstack(tf.cast(words % choices, tf.int32))
    return top, left, (mirrored == 1) & flip


def _resize_image(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes with antialiased bicubic interpolation and rounds: uint8 [*size, 3]."""

    def resample():
        resized = tf.image.resize(image, size, method="bicubic", antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)

    resized = tf.cond(tf.reduce_all(tf.shape(image)[:2] == size), lambda: image, resample)
    return tf.ensure_shape(resized, (*size, 3))


def _crop_image(image: tf.Tensor, top, left, crop: tuple[int, int], mirrored) -> tf.Tensor:
    image = tf.slice(image, [top, left, 0], [*crop, 3])
    return tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)


def _resize_labels(label_map: tf.Tensor, size, top, left, crop, mirrored) -> tf.Tensor:
    """Resizes a label map [h, w] to `size` (nearest), crops and flips it in one lookup: [*crop].

    Takes any integer type and reads only the pixels it needs. Pixel centres lie as in the resized
    image (half-pixel centres). uint16 becomes int32, which every device can compute with.
    """
    row_index = _nearest(tf.shape(label_map)[0], size[0])[top : top + crop[0]]
    column_index = _nearest(tf.shape(label_map)[1], size[1])[left : left + crop[1]]
    column_index = tf.where(mirrored, column_index[::-1], column_index)
    labels = tf.gather(tf.gather(label_map, row_index, axis=0), column_index, axis=1)
    labels = tf.cast(labels, tf.uint8 if label_map.dtype == tf.uint8 else tf.int32)
    return tf.ensure_shape(labels, crop)


def _nearest(source: tf.Tensor, target: int) -> tf.Tensor:
    """Returns the source index under the centre of each of `target` pixels, in exact integers."""
    return (2 * tf.range(target) + 1) * source // (2 * target)


# === Checks and options ===


def _finish(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # Workers select their rows of each global batch themselves.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def _check_sizes(resize: tuple[int, int], crop: tuple[int, int]) -> None:
    if min(crop) < 1 or resize[0] < crop[0] or resize[1] < crop[1]:
        raise ValueError(
            "The crop must be at least 1×1 and fit into the resized image. Received: "
            f"crop {crop[0]}×{crop[1]}, resize {resize[0]}×{resize[1]} (height×width). Raise "
            "--resize_height and --resize_width, or crop less."
        )


def _check_batch(batch_size: int, start_step: int, first: int, last: int) -> None:
    if batch_size < 1 or start_step < 0:
        raise ValueError(
            "`batch_size` must be at least 1 and `start_step` at least 0. "
            f"Received: batch_size={batch_size}, start_step={start_step}."
        )
    if not 0 <= first < last <= batch_size:
        raise ValueError(
            f"`rows` must be (a, b) with 0 ≤ a < b ≤ batch_size={batch_size}. "
            f"Received: rows=({first}, {last})."
        )

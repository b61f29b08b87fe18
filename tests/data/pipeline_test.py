"""Batches: order, resuming, slices, and the geometry of resizing, crop and flip."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oasis_tf.data import pipeline, preparation
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.data.examples import FilePair

NUM_RECORDS = 23
HEIGHT, WIDTH = 12, 20


def take(batches, count):
    """Returns the first batches as tuples of NumPy arrays."""
    return [tuple(part.numpy() for part in batch) for batch in itertools.islice(batches, count)]


def nearest(array, height, width):
    """Independent nearest resize: the source pixel under the centre of each target pixel."""
    y = np.floor((np.arange(height) + 0.5) * array.shape[0] / height + 1e-9).astype(int)
    x = np.floor((np.arange(width) + 0.5) * array.shape[1] / width + 1e-9).astype(int)
    return array[y][:, x]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, write_dataset):
    """Records whose image has the colours (y, x, record) and whose labels are 20 y + x."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    images = [np.stack([y, x, np.full_like(y, k)], -1).astype(np.uint8) for k in range(NUM_RECORDS)]
    label_map = (WIDTH * y + x).astype(np.uint8)
    folder = tmp_path_factory.mktemp("coordinates")
    return write_dataset(folder, images, [label_map] * NUM_RECORDS, 240, num_shards=3)


@pytest.fixture(scope="module")
def stream(data_dir):
    """function(**changes) -> training batches of 4 crops of 6×10."""

    def batches(**changes):
        arguments = {
            "crop_height": 6,
            "crop_width": 10,
            "resize_height": HEIGHT,
            "resize_width": WIDTH,
            "batch_size": 4,
            "seed": 5,
        }
        return pipeline.training_batches(data_dir, **(arguments | changes))

    return batches


@pytest.fixture(scope="module")
def reference(stream):
    """The first 30 batches of `stream`, more than five epochs."""
    return take(stream(), 30)


def records_of(batches):
    return np.concatenate([images[:, 0, 0, 2] for images, _ in batches])


# === Order ===


@pytest.mark.parametrize("limit", [{}, {"SHUFFLE_RECORDS": 5}, {"SHUFFLE_BYTES": 2000}])
def test_every_epoch_holds_every_record_once(stream, monkeypatch, limit):
    for name, value in limit.items():
        monkeypatch.setattr(pipeline, name, value)
    order = records_of(take(stream(), 30))[: 5 * NUM_RECORDS].reshape(5, NUM_RECORDS)
    np.testing.assert_array_equal(np.sort(order, 1), np.tile(np.arange(NUM_RECORDS), (5, 1)))
    assert len(np.unique(order, axis=0)) == 5  # every epoch has another order
    assert not (order == np.arange(NUM_RECORDS)).all(1).any()


def test_order_is_a_full_permutation(stream):
    """Over many epochs, every record is in every place about equally often."""
    epochs = 200
    batches = take(stream(batch_size=NUM_RECORDS, crop_height=1, crop_width=1), epochs)
    order = np.stack([images[:, 0, 0, 2] for images, _ in batches])
    counts = np.zeros((NUM_RECORDS, NUM_RECORDS))
    for place in range(NUM_RECORDS):
        counts[place] = np.bincount(order[:, place], minlength=NUM_RECORDS)
    expected = epochs / NUM_RECORDS
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = (NUM_RECORDS - 1) ** 2
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


def test_windows_are_bounded_in_bytes(stream, monkeypatch, data_dir):
    """With windows of one record, an epoch reads the shards in turns and shuffles nothing."""
    monkeypatch.setattr(pipeline, "SHUFFLE_BYTES", 1)
    order = records_of(take(stream(), 6))[:NUM_RECORDS]
    shards = order % 3  # record k lies in shard k mod 3
    np.testing.assert_array_equal(shards[:21], np.tile(shards[:3], 7))
    assert all((np.diff(order[shards == shard].astype(int)) > 0).all() for shard in range(3))


def test_same_seed_same_stream_other_seed_other_stream(stream, reference):
    tf.random.set_seed(1234)  # has no effect
    for expected, batch in zip(reference, take(stream(), 8), strict=False):
        np.testing.assert_array_equal(expected[0], batch[0])
        np.testing.assert_array_equal(expected[1], batch[1])
    assert (records_of(take(stream(seed=6), 5)) != records_of(reference[:5])).any()


@settings(max_examples=12, deadline=None)
@given(start_step=st.integers(0, 28), first=st.integers(0, 3), count=st.integers(1, 4))
def test_resuming_and_slicing_equal_the_whole_stream(stream, reference, start_step, first, count):
    rows = (first, min(4, first + count))
    for step, batch in enumerate(take(stream(start_step=start_step, rows=rows), 2), start_step):
        np.testing.assert_array_equal(batch[0], reference[step][0][rows[0] : rows[1]])
        np.testing.assert_array_equal(batch[1], reference[step][1][rows[0] : rows[1]])


def test_far_steps_are_reached_at_once(stream):
    step = 10**9  # 174 million epochs
    later = take(stream(start_step=step + 2), 1)[0]
    np.testing.assert_array_equal(take(stream(start_step=step), 3)[2][0], later[0])


def test_batches_larger_than_the_data_set(stream):
    ((images, _),) = take(stream(batch_size=50), 1)
    counts = np.bincount(images[:, 0, 0, 2], minlength=NUM_RECORDS)
    assert counts.min() == 2 and counts.sum() == 50


# === Geometry ===


def test_crop_and_flip_are_paired_and_cover_everything(reference):
    tops, lefts, flips = [], [], []
    y, x = np.mgrid[:6, :10]
    for images, label_maps in reference:
        for image, label_map in zip(images.astype(int), label_maps, strict=True):
            # The colours of the image tell where each pixel comes from; so do the labels.
            np.testing.assert_array_equal(WIDTH * image[..., 0] + image[..., 1], label_map)
            flipped = image[0, 0, 1] > image[0, -1, 1]
            top, left = image[0, 0, 0], image[0, -1 if flipped else 0, 1]
            np.testing.assert_array_equal(image[..., 0], top + y)
            np.testing.assert_array_equal(image[..., 1], left + (9 - x if flipped else x))
            tops.append(top)
            lefts.append(left)
            flips.append(flipped)
    assert set(tops) == set(range(HEIGHT - 6 + 1))
    assert set(lefts) == set(range(WIDTH - 10 + 1))
    assert 0.35 < np.mean(flips) < 0.65
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.3


def test_augmentation_differs_between_epochs(reference):
    seen = {}
    for images, _ in reference:
        for image in images:
            seen.setdefault(int(image[0, 0, 2]), set()).add((image[0, 0, 0], image[0, 0, 1]))
    assert np.mean([len(corners) for corners in seen.values()]) > 3


def test_no_flip(stream):
    for images, _ in take(stream(flip=False), 8):
        assert (images[:, :, 0, 1] < images[:, :, -1, 1]).all()


def test_resize_defaults_to_the_crop(stream):
    small = {"resize_height": None, "resize_width": None, "flip": False}
    for _, label_maps in take(stream(**small), 2):
        expected = nearest(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH), 6, 10)
        np.testing.assert_array_equal(label_maps, np.tile(expected, (4, 1, 1)))


@settings(max_examples=12, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_labels_are_resized_to_the_nearest(data_dir, height, width):
    batch = take(
        pipeline.evaluation_batches(data_dir, "val", height=height, width=width, batch_size=2), 1
    )[0]
    expected = nearest(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH), height, width)
    np.testing.assert_array_equal(batch[1][0], expected)


@pytest.mark.parametrize(("height", "width"), [(24, 30), (16, 9), (48, 40)])
def test_images_are_resized_like_pillow(tmp_path, write_dataset, height, width):
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 255, (8, 8, 3)).astype(np.uint8)
    image = np.array(Image.fromarray(noise).resize((40, 48), Image.Resampling.BICUBIC))
    folder = write_dataset(tmp_path, [image], [np.zeros((48, 40), np.uint8)], 2)
    batches = pipeline.evaluation_batches(folder, "val", height=height, width=width, batch_size=1)
    ours = take(batches, 1)[0][0][0]
    pillow = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    assert ours.dtype == np.uint8
    difference = np.abs(ours.astype(int) - np.asarray(pillow))
    assert difference.max() <= 1


@pytest.mark.parametrize("resize", [(20, 33), (70, 30)])
def test_training_images_may_be_stored_at_the_size_of_training(tmp_path, write_pairs, resize):
    """Prepared small, the batches are those of the original sizes: labels equal, colours to one
    level, which the rounding of sums in float32 decides."""
    write_pairs(tmp_path / "images", tmp_path / "labels", ["a", "b", "c"], size=(48, 64))
    sources = [
        FilePair(k, str(tmp_path / f"images/{k}.jpg"), str(tmp_path / f"labels/{k}.png"))
        for k in "abc"
    ]
    batches = []
    for size in (None, resize):
        folder = str(tmp_path / f"prepared {size}")
        options = {"num_workers": 1, "training_size": size}
        preparation.prepare({"train": sources}, folder_label_space(4), folder, **options)
        sizes = {"resize_height": resize[0], "resize_width": resize[1]}
        training = pipeline.training_batches(
            folder, crop_height=16, crop_width=20, **sizes, batch_size=8, seed=3
        )
        batches.append(take(training, 4))
    for original, stored in zip(*batches, strict=True):
        np.testing.assert_array_equal(original[1], stored[1])
        difference = np.abs(original[0].astype(int) - stored[0])
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_bicubic_overshoot_is_clipped(tmp_path, write_dataset):
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 255
    folder = write_dataset(tmp_path, [image], [np.zeros((8, 8), np.uint8)], 2)
    batches = pipeline.evaluation_batches(folder, "val", height=32, width=32, batch_size=1)
    row = take(batches, 1)[0][0][0, 16, :, 0].astype(int)
    assert (np.diff(row) >= -20).all() and row[0] == 0 and row[-1] == 255  # no wrap-around


def test_an_image_and_its_labels_stay_aligned_when_resized(tmp_path, write_dataset):
    """Image and label map have two halves, whose border is at the same place at any size."""
    label_map = np.repeat([[0] * 16 + [1] * 16], 24, 0).astype(np.uint8)
    image = np.repeat(255 * label_map[..., None], 3, -1)
    folder = write_dataset(tmp_path, [image], [label_map], 2)
    for size in (10, 24, 50):
        batches = pipeline.evaluation_batches(folder, "val", height=size, width=size, batch_size=1)
        ((images, label_maps),) = take(batches, 1)
        np.testing.assert_array_equal(images[0, ..., 0] > 127, label_maps[0] == 1)


# === Types ===


def test_more_than_256_classes_give_int32(tmp_path, write_dataset):
    label_map = np.array([[0, 255, 256], [1203, 1000, 2]], np.uint16)
    folder = write_dataset(tmp_path, [np.zeros((2, 3, 3), np.uint8)], [label_map], 1204)
    evaluation = pipeline.evaluation_batches(folder, "val", height=2, width=3, batch_size=1)
    training = pipeline.training_batches(
        folder, crop_height=2, crop_width=3, batch_size=1, seed=0, flip=False
    )
    for batches in (evaluation, training):
        ((_, label_maps),) = take(batches, 1)
        assert label_maps.dtype == np.int32
        np.testing.assert_array_equal(label_maps[0], label_map)


def test_element_spec(stream, data_dir):
    for rows, batch in ((None, 4), ((1, 3), 2)):
        image, label_map = stream(rows=rows).element_spec
        assert (image.shape, image.dtype) == ((batch, 6, 10, 3), tf.uint8)
        assert (label_map.shape, label_map.dtype) == ((batch, 6, 10), tf.uint8)
    batches = pipeline.evaluation_batches(data_dir, "val", height=6, width=10, batch_size=4)
    assert batches.element_spec[0].shape.as_list() == [None, 6, 10, 3]


def test_evaluation_is_in_file_order_and_complete(data_dir):
    batches = pipeline.evaluation_batches(
        data_dir, "val", height=HEIGHT, width=WIDTH, batch_size=10
    )
    batches = take(batches, 99)
    assert [len(images) for images, _ in batches] == [10, 10, 3]
    expected = [k for shard in range(3) for k in range(shard, NUM_RECORDS, 3)]
    np.testing.assert_array_equal(records_of(batches), expected)


# === Bad input ===


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resize_height": 5}, r"crop 6×10, resize 5×20"),
        ({"crop_width": 0}, r"at least 1×1"),
        ({"batch_size": 0}, r"batch_size=0"),
        ({"start_step": -1}, r"start_step=-1"),
        ({"rows": (2, 2)}, r"batch_size=4. Received: rows=\(2, 2\)"),
        ({"rows": (0, 5)}, r"rows=\(0, 5\)"),
    ],
)
def test_arguments_are_checked(stream, changes, message):
    with pytest.raises(ValueError, match=message):
        stream(**changes)


def test_data_set_is_checked(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a prepared data set"):
        pipeline.evaluation_batches(str(tmp_path), "val", height=8, width=8, batch_size=1)


def test_damaged_record_is_named(tmp_path, write_dataset):
    image, label_map = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8)
    folder = write_dataset(tmp_path, [image], [label_map], 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Damaged record.*record 0"):
        take(pipeline.evaluation_batches(folder, "val", height=4, width=4, batch_size=1), 1)

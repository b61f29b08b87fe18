"""Damage that a stream meets: named by shard and record, with the remedy."""

import io
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from oasis_tf.data import pipeline, reading, tfrecord
from oasis_tf.data.damage import plain_errors
from oasis_tf.data.datasets import folder_label_space

BAD = 7  # in file order
SHARD, RECORD = 1, 2  # where it lies
REMEDY = (
    "Restore the file or prepare the data set again with --overwrite; or leave out what cannot be "
    "read with --skip_corrupt."
)
PROBLEM = (
    "(counted from 0): it, or one before it in this file, cannot be read or decoded, or its image "
    f"and labels do not fit together. {REMEDY}"
)


def training(data_dir, **changes):
    arguments = {"crop_height": 6, "crop_width": 9, "batch_size": 2, "seed": 3, "flip": False}
    return pipeline.training_batches(data_dir, **(arguments | changes))


def evaluation(data_dir, **changes):
    arguments = {"height": 6, "width": 9, "batch_size": 1} | changes
    return pipeline.evaluation_batches(data_dir, "train", **arguments)


def numbers_until_error(batches, most=30):
    """(numbers of the records of each batch before the error, its plain text)."""
    taken = []
    with pytest.raises(ValueError) as error, plain_errors():
        for images, _ in batches.take(most):
            taken.append(images.numpy()[:, 0, 0, 0].tolist())
    return taken, str(error.value)


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
LABELS = PIXELS[..., 0] % 4


def undecodable(png):
    """Name of the damage -> parts of the record that are replaced."""
    return {
        "truncated JPEG": {"image": jpeg(PIXELS)[:-40]},
        "truncated PNG": {"image": png(PIXELS)[:-40]},
        "no image": {"image": b"GIF or what"},
        "truncated label PNG": {"label": png(LABELS)[:-30]},
        "no label PNG": {"label": b""},
        "other label size": {"label": png(LABELS[:, :8])},
        "other image size": {"image": png(PIXELS[:5])},
        "other recorded size": {"size": (9, 6)},
        "class that does not exist": {
            "label": png(np.where(LABELS == 3, 4, LABELS).astype(np.uint8))
        },
        "label of 16 bits": {"label": png(LABELS.astype(np.uint16))},
        "label in colours": {"label": png(PIXELS % 4)},
    }


UNDECODABLE = sorted(undecodable(lambda pixels: b""))


@pytest.mark.parametrize("name", UNDECODABLE)
def test_records_that_are_not_sound(png, make_record, name):
    contents = tf.constant(make_record(BAD, **undecodable(png)[name]))
    assert not reading.decode(contents, folder_label_space(4))[2]


def test_sound_records_are_not_suspected(png, make_record):
    for parts in ({}, {"image": jpeg(PIXELS)}, {"label": png(LABELS)}, {"image": png(LABELS)}):
        contents = tf.constant(make_record(BAD, **parts))
        assert reading.decode(contents, folder_label_space(4))[2]
    label = png(np.full((6, 9), 299, np.uint16))
    contents = tf.constant(make_record(BAD, label=label))
    assert reading.decode(contents, folder_label_space(300))[2]
    assert not reading.decode(contents, folder_label_space(299))[2]


@pytest.mark.parametrize(
    ("stream", "name"),
    [(training, "truncated JPEG"), (evaluation, "class that does not exist")],
)
def test_undecodable_records_in_streams(tmp_path, records, make_record, png, stream, name):
    records.save(tmp_path / "sound")
    records.shards[SHARD][RECORD] = make_record(BAD, **undecodable(png)[name])
    path = records.save(tmp_path / "data")[SHARD]
    taken, text = numbers_until_error(stream(str(tmp_path / "data")))
    assert text == f"Damaged record: {path}, record {RECORD} {PROBLEM}"
    # All batches before it come, and the same as ever.
    sound = stream(str(tmp_path / "sound")).take(len(taken) + 1)
    sound = [images.numpy()[:, 0, 0, 0].tolist() for images, _ in sound]
    assert sound[:-1] == taken and BAD in sound[-1]


def test_a_record_that_is_something_else(tmp_path, records):
    records.shards[SHARD][RECORD] = b"\xff\xff no example"
    path = records.save(tmp_path)[SHARD]
    taken, text = numbers_until_error(evaluation(str(tmp_path)))
    assert taken == [[k] for k in range(BAD)]
    assert text == f"Damaged record: {path}, record {RECORD} {PROBLEM}"


def cut(path):
    os.truncate(path, tfrecord.record_starts(path)[3] + 20)


@pytest.mark.parametrize(
    ("stream", "damage", "index"),
    [
        (training, lambda path, flip: flip(path, RECORD), None),
        (evaluation, lambda path, flip: flip(path, RECORD), RECORD),
        (evaluation, lambda path, flip: flip(path, RECORD, in_length=True), RECORD),
        (evaluation, lambda path, flip: cut(path), 3),
        (evaluation, lambda path, flip: os.remove(path), 0),
    ],
    ids=["flipped bit, shuffled", "flipped bit", "flipped bit of a length", "cut short", "removed"],
)
def test_unreadable_shards(tmp_path, records, flip, stream, damage, index):
    path = records.save(tmp_path)[SHARD]
    batches = stream(str(tmp_path))  # finds the shards as they should be
    damage(path, flip)
    taken, text = numbers_until_error(batches)
    assert text.startswith(f"Damaged record: {path}, record ") and text.endswith(REMEDY)
    assert "\n" not in text
    if index is not None:
        assert f", record {index} {PROBLEM}" in text
        assert taken == [[k] for k in range(len(records.shards[0]) + index)]


def test_tensorflows_own_message_holds_the_text(tmp_path, records, make_record, flip):
    """What is printed where nobody makes a plain error of it."""
    records.shards[SHARD][RECORD] = make_record(BAD, image=b"")
    paths = records.save(tmp_path)
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        list(evaluation(str(tmp_path)))
    assert f"{paths[SHARD]}, record {RECORD} {PROBLEM}" in str(error.value)
    flip(paths[0], 4)
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        list(evaluation(str(tmp_path)))
    assert f"{paths[0]}, record 4 {PROBLEM}" in str(error.value)


def test_plain_errors_inside_graphs_and_over_replicas(tmp_path, records, flip):
    flip(records.save(tmp_path)[SHARD], RECORD)

    @tf.function
    def total(batches):
        return batches.reduce(
            0.0, lambda x, batch: x + tf.reduce_sum(tf.cast(batch[0], tf.float32))
        )

    @tf.function
    def looped(batches):
        count = 0
        for _ in batches:
            count += 1
        return count

    devices = tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    distributed = strategy.experimental_distribute_dataset(evaluation(str(tmp_path)))
    for consume in (total, looped, lambda _: list(distributed)):
        message = f"^Damaged record: .*, record {RECORD} .*--skip_corrupt.$"
        with pytest.raises(ValueError, match=message), plain_errors():
            consume(evaluation(str(tmp_path)))


def test_other_errors_pass_unchanged():
    error = tf.errors.ResourceExhaustedError(None, None, "Out of memory [while] at work\n")
    with pytest.raises(tf.errors.ResourceExhaustedError) as raised, plain_errors():
        raise error
    assert raised.value is error


def test_only_the_worker_that_needs_the_record_fails(tmp_path, records, make_record):
    records.shards[SHARD][RECORD] = make_record(BAD, image=b"")
    records.save(tmp_path)
    step = len(numbers_until_error(training(str(tmp_path)))[0])
    failed = []
    for rows in ((0, 1), (1, 2)):
        try:
            list(training(str(tmp_path), rows=rows).take(step + 1))
        except tf.errors.InvalidArgumentError:
            failed.append(rows)
    assert len(failed) == 1


def test_moved_data_set_names_the_new_place(tmp_path, records, make_record):
    records.shards[SHARD][RECORD] = make_record(BAD, image=b"")
    records.save(tmp_path / "old")
    shutil.move(tmp_path / "old", tmp_path / "it's [new] 新")
    _, text = numbers_until_error(evaluation(str(tmp_path / "it's [new] 新")))
    assert f"{tmp_path}/it's [new] 新/train-00001-of-00003.tfrecord, record {RECORD}" in text

"""--skip_corrupt: what is left out, what is reported, and the stream that remains."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from oasis_tf.data import pipeline, tfrecord, verification
from oasis_tf.data.tfrecord import PreparedDataset

SIZES = (5, 6, 4)


def training(data_dir, **changes):
    arguments = {"crop_height": 4, "crop_width": 6, "resize_height": 6, "resize_width": 9}
    arguments |= {"batch_size": 4, "seed": 3, "skip_corrupt": True}
    return pipeline.training_batches(str(data_dir), **(arguments | changes))


def evaluation(data_dir, **changes):
    arguments = {"height": 6, "width": 9, "batch_size": 4, "skip_corrupt": True} | changes
    return pipeline.evaluation_batches(str(data_dir), "train", **arguments)


def taken(batches, count=12):
    return [tuple(part.numpy() for part in batch) for batch in batches.take(count)]


def numbers(batches):
    return [int(k) for images, _ in batches for k in images[:, 0, 0, 0]]


def assert_equal(batches, expected):
    assert len(batches) == len(expected)
    for ours, theirs in zip(batches, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def verify(data_dir):
    """Lines about shards, without their folder, and the numbers of sound records."""
    prepared = PreparedDataset.load(str(data_dir), skip_corrupt=True)
    records, left_out = verification.verify(prepared, "train")
    sound = [
        (int(shard), int(index)) for shard, index, _ in records.in_file_order().as_numpy_iterator()
    ]
    assert records.count == len(sound)
    return [line.replace(f"{data_dir}/", "")[:11] + line[line.index(":") :] for line in left_out], [
        sum(SIZES[:shard]) + index for shard, index in sound
    ]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, make_records, make_record, flip):
    """A data set with damage of several kinds, and the numbers of its sound records."""
    folder, records = tmp_path_factory.mktemp("damaged"), make_records()
    records.shards[0][0] = make_record(0, image=b"GIF")
    records.shards[0][4] = make_record(4, size=(1, 1))
    records.shards[2][1] = make_record(12, image=b"GIF")
    paths = records.save(folder)
    flip(paths[1], 1)
    flip(paths[1], 2)
    flip(paths[1], 5)
    flip(paths[2], 2, in_length=True)
    return folder, [1, 2, 3, 5, 8, 9, 11]


@pytest.fixture(scope="module")
def without_bad(tmp_path_factory, make_records, damaged):
    """A data set of the sound records alone, in the shards where they lie."""
    folder, records = tmp_path_factory.mktemp("without"), make_records()
    bounds = np.cumsum((0, *SIZES))
    shards = [
        [records.shards[k][n - bounds[k]] for n in damaged[1] if bounds[k] <= n < bounds[k + 1]]
        for k in range(3)
    ]
    dataclasses.replace(records, shards=shards).save(folder)
    return folder


def test_what_is_left_out(damaged):
    assert verify(damaged[0]) == (
        [
            "train-00000: 2 of 5, the first is record 0",
            "train-00001: 3 of 6, the first is record 1",
            "train-00002: 3 of 4, the first is record 1",
        ],
        damaged[1],
    )


def test_the_stream_is_that_of_a_data_set_of_the_sound_records(monkeypatch, damaged, without_bad):
    monkeypatch.setattr(pipeline, "SHUFFLE_RECORDS", 3)  # more than one window
    expected = taken(training(without_bad, skip_corrupt=False))
    assert_equal(taken(training(damaged[0])), expected)
    epochs = np.reshape(numbers(expected)[:42], (6, 7))
    np.testing.assert_array_equal(np.sort(epochs), [damaged[1]] * 6)  # what both should be


def test_the_stream_begins_at_any_step_and_is_cut_in_rows(damaged):
    whole = taken(training(damaged[0]))
    for step, rows in ((1, (0, 4)), (5, (1, 3))):
        part = taken(training(damaged[0], start_step=step, rows=rows), 3)
        expected = [tuple(x[slice(*rows)] for x in batch) for batch in whole[step : step + 3]]
        assert_equal(part, expected)


def test_evaluation_has_the_sound_records_in_file_order(damaged):
    batches = taken(evaluation(damaged[0]))
    assert numbers(batches) == damaged[1]
    assert [len(images) for images, _ in batches] == [4, 3]
    assert numbers(taken(evaluation(damaged[0], every=3))) == damaged[1][::3]
    chosen = [damaged[1][place] for place in (0, 3, 4)]
    assert numbers(taken(evaluation(damaged[0], at=[4, 0, 3]))) == chosen
    prepared = PreparedDataset.load(str(damaged[0]), skip_corrupt=True)
    assert verification.usable_records(prepared, "train", True).count == 7
    assert verification.usable_records(prepared, "val", True).count == 12
    assert verification.usable_records(prepared, "val", False).count == 15


def test_without_damage_nothing_changes(tmp_path, records, capsys):
    records.save(tmp_path)
    assert_equal(taken(training(tmp_path)), taken(training(tmp_path, skip_corrupt=False)))
    assert_equal(taken(evaluation(tmp_path)), taken(evaluation(tmp_path, skip_corrupt=False)))
    said = capsys.readouterr().err
    assert f"Verified the 15 records of train in {tmp_path}: all can be used.\n" in said


@pytest.mark.parametrize("whole", [0, 3])
def test_shards_cut_short_and_missing_ones(tmp_path, records, whole):
    paths = records.save(tmp_path)
    os.remove(paths[2])
    os.truncate(paths[1], tfrecord.record_starts(paths[1])[whole] + 7)
    with pytest.raises((OSError, ValueError), match="00001-of-00003.*--skip_corrupt"):
        training(tmp_path, skip_corrupt=False)
    assert verify(tmp_path)[0] == [
        f"train-00001: {6 - whole} of 6, the first is record {whole}",
        "train-00002: 4 of 4, the first is record 0",
    ]
    assert numbers(taken(evaluation(tmp_path))) == [*range(5 + whole)]


def test_the_report_names_everything_and_comes_once(tmp_path, damaged, flip, capsys):
    folder = shutil.copytree(damaged[0], tmp_path / "copy")
    for _ in range(2):
        evaluation(folder)
    lines = capsys.readouterr().err.splitlines()
    start = lines.index(
        f"Verified the 15 records of train in {folder}: 8 cannot be used and are left out:"
    )
    shard = f"  {folder}/train-00000-of-00003.tfrecord"
    assert lines[start + 1] == f"{shard}: 2 of 5, the first is record 0"
    assert len(lines) == start + 4
    assert sum(line.startswith("verifying train: 15/15") for line in lines) == 1
    flip(f"{folder}/train-00000-of-00003.tfrecord", 1)  # the files are others now
    evaluation(folder)
    assert ": 9 cannot be used" in capsys.readouterr().err


def test_a_split_without_any_usable_record(tmp_path, records):
    for path in records.save(tmp_path):
        os.truncate(path, 5)
    message = "None of the 15 records of train .* can be used. Restore the file or prepare"
    with pytest.raises(ValueError, match=message):
        training(tmp_path)


def test_a_wrong_length_that_leads_into_the_file(tmp_path, records):
    """What is read there fails its checksum, and nothing is taken for what it is not."""
    path = records.save(tmp_path)[1]
    contents = bytearray(Path(path).read_bytes())
    contents[tfrecord.record_starts(path)[2]] ^= 64
    Path(path).write_bytes(contents)
    assert verify(tmp_path)[0] == ["train-00001: 4 of 6, the first is record 2"]
    assert numbers(taken(evaluation(tmp_path))) == [0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14]

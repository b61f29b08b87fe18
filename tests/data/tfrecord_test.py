"""Records and shards: bytes are kept, damage is found, no half-written file is left."""

import dataclasses
import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.data import tfrecord
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io import json_files
from tests.flips import flips


@pytest.fixture
def data_dir(tmp_path, write_dataset):
    """A prepared data set of 5 records in 2 shards per split, 4 classes."""
    label_map = np.array([[0, 1, 1], [3, 3, 3]], np.uint8)
    image = np.zeros((2, 3, 3), np.uint8)
    return write_dataset(tmp_path / "data", [image] * 5, [label_map] * 5, 4, num_shards=2)


def test_records_keep_every_byte(tmp_path):
    values = {
        "key": "stadt/straße_1",
        "image": bytes(range(256)),
        "image_format": "jpeg",
        "label": b"\x89PNG\x00",
        "height": 7,
        "width": 70000,
    }
    path = str(tmp_path / "x.tfrecord")
    info = tfrecord.write_shard(path, [tfrecord.serialize_example(**values)] * 2)
    assert info == tfrecord.ShardInfo(
        "x.tfrecord", 2, os.path.getsize(path), tfrecord.file_sha256(path)
    )
    for record in tf.data.TFRecordDataset(path):
        fields = tfrecord.parse_example(record)
        assert fields["key"].numpy().decode() == values["key"]
        assert fields["image"].numpy() == values["image"]
        assert fields["label"].numpy() == values["label"]
        assert (int(fields["height"]), int(fields["width"])) == (7, 70000)
        assert fields["image_format"].numpy() == b"jpeg"


def test_equal_records_are_equal_bytes():
    values = {
        "key": "k",
        "image": b"i",
        "image_format": "png",
        "label": b"l",
        "height": 1,
        "width": 2,
    }
    reversed_values = dict(reversed(values.items()))
    assert tfrecord.serialize_example(**values) == tfrecord.serialize_example(**reversed_values)


def test_save_and_load(data_dir):
    prepared = PreparedDataset.load(data_dir)
    assert prepared.num_examples("train") == prepared.num_examples("val") == 5
    names = [os.path.basename(path) for path in prepared.shard_paths("val")]
    assert names == ["val-00000-of-00002.tfrecord", "val-00001-of-00002.tfrecord"]
    assert prepared.class_frequency == pytest.approx((1 / 6, 2 / 6, 0, 3 / 6))
    values = json.loads(Path(data_dir, "dataset.json").read_text())
    assert values["format_version"] == tfrecord.FORMAT_VERSION == 1
    assert values["splits"]["train"]["num_examples"] == 5
    assert [shard["num_examples"] for shard in values["splits"]["val"]["shards"]] == [3, 2]
    assert values["class_frequency"] == list(prepared.class_frequency)


def test_the_description_is_read_once_until_it_changes(data_dir, monkeypatch):
    first = PreparedDataset.load(data_dir)
    reads, read = [], tfrecord._read_metadata
    monkeypatch.setattr(tfrecord, "_read_metadata", lambda path: reads.append(path) or read(path))
    assert PreparedDataset.load(data_dir, skip_corrupt=True) == first
    assert reads == []
    dataclasses.replace(first, synthetic={"seed": 3}).save()
    assert PreparedDataset.load(data_dir).synthetic == {"seed": 3}
    assert len(reads) == 1


def test_absent_split_names_the_remedy(data_dir):
    prepared = PreparedDataset.load(data_dir)
    prepared = dataclasses.replace(prepared, splits={"train": prepared.splits["train"]})
    prepared.save()
    with pytest.raises(ValueError, match="has no split 'val', only train.*--val_image_dir"):
        PreparedDataset.load(data_dir).num_examples("val")


def test_folders_that_were_never_prepared(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no dataset.json.*oasis_tf.prepare"):
        PreparedDataset.load(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="does not exist.*oasis_tf.prepare"):
        PreparedDataset.load(str(tmp_path / "absent"))


SHAPELESS = '{"format_version": 1, "label_space": {}, "splits": [1]}'


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"text"', SHAPELESS])
def test_damaged_description(data_dir, text):
    Path(data_dir, "dataset.json").write_text(text)
    message = "dataset.json is (damaged|not the description).*--overwrite"
    with pytest.raises(ValueError, match=message):
        PreparedDataset.load(data_dir)


def test_flipped_bits_are_refused_and_the_file_named(data_dir):
    path = Path(data_dir, "dataset.json")
    before, prepared = path.read_bytes(), PreparedDataset.load(data_dir)
    for flipped in flips(before, seed=0, count=200):
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=f"^{path} is damaged: .*--overwrite"):
            tfrecord._described.__wrapped__(str(path), ())
    contents = json_files.loads(before)  # of an earlier release: without a digest
    path.write_text(json.dumps(contents))
    assert PreparedDataset.load(data_dir) == prepared
    for flipped in flips(path.read_bytes(), seed=0, count=200):
        path.write_bytes(flipped)
        try:
            tfrecord._described.__wrapped__(str(path), ())
        except ValueError as error:
            assert str(path) in str(error)


def test_other_format_version(data_dir):
    path = Path(data_dir, "dataset.json")
    path.write_text(json.dumps(json_files.read(path) | {"format_version": 2}))
    with pytest.raises(ValueError, match="format version 2; this oasis_tf reads version 1.*again"):
        PreparedDataset.load(data_dir)


def test_missing_and_short_shards(data_dir):
    path = f"{data_dir}/val-00001-of-00002.tfrecord"
    size = os.path.getsize(path)
    os.truncate(path, size - 1)
    message = (
        f"val-00001-of-00002.tfrecord has {size - 1} bytes instead of {size}: .* Record 1 .counted "
        "from 0. is not whole; dataset.json states 2 records. Restore .*--overwrite; "
        ".*--skip_corrupt"
    )
    with pytest.raises(ValueError, match=message):
        PreparedDataset.load(data_dir)
    Path(path).write_bytes(Path(path).read_bytes()[: size // 2] * 4)
    message = "bytes instead of .* It holds 4 records; dataset.json states 2"
    with pytest.raises(ValueError, match=message):
        PreparedDataset.load(data_dir)
    os.remove(path)
    message = "val-00001-of-00002.tfrecord is missing, and with it 2 records.*--skip_corrupt"
    with pytest.raises(FileNotFoundError, match=message):
        PreparedDataset.load(data_dir)
    assert PreparedDataset.load(data_dir, skip_corrupt=True).num_examples("val") == 5


def test_the_data_set_of_a_model(data_dir, tmp_path):
    load = tfrecord.load_for_model
    assert load(data_dir, "gone") == load(None, data_dir) == PreparedDataset.load(data_dir)
    with pytest.raises(FileNotFoundError, match="gone is not a prepared.*give its new --data_dir"):
        load(None, str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError) as error:
        load(str(tmp_path / "gone"), data_dir)
    assert "has moved" not in str(error.value)
    with pytest.raises(ValueError, match="names no data set.*--data_dir=DIR"):
        load(None, None)


def test_starts_of_records(tmp_path):
    """Stored lengths lead from one whole record to the next."""
    path, contents = str(tmp_path / "x.tfrecord"), [b"", b"abc", bytes(1000)]
    tfrecord.write_shard(path, contents)
    starts = tfrecord.record_starts(path)
    assert starts == [0, 16, 35, 1051] and starts[-1] == os.path.getsize(path)
    for k, wanted in enumerate(contents):
        with open(path, "rb") as file:
            assert file.read()[starts[k] + 12 : starts[k + 1] - 4] == wanted
    for size in (1050, 47, 42, 35):
        os.truncate(path, size)
        assert tfrecord.record_starts(path) == [0, 16, 35]
    os.truncate(path, 0)
    assert tfrecord.record_starts(path) == [0]


@pytest.fixture
def full_disk():
    """Files cannot grow beyond 64 KiB, as on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("record_bytes", [1000, 1_000_000])
def test_full_disk_names_file_and_remedy_and_leaves_nothing(tmp_path, full_disk, record_bytes):
    path = str(tmp_path / "x.tfrecord")
    with pytest.raises(OSError, match="Cannot write .*x.tfrecord: .*Make room.*again"):
        tfrecord.write_shard(path, (bytes(record_bytes) for _ in range(200)))
    assert os.listdir(tmp_path) == []


def test_failed_json_keeps_the_old_one(tmp_path, full_disk):
    path = str(tmp_path / "x.json")
    tfrecord.write_json(path, {"a": 1})
    with pytest.raises(OSError, match="Cannot write .*x.json: .*Make room"):
        tfrecord.write_json(path, {"a": "b" * 100_000})
    assert json_files.read(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write .*x.tfrecord: .*make it writable"):
        tfrecord.write_shard(str(tmp_path / "file" / "x.tfrecord"), [b""])


def test_errors_of_the_records_pass_unchanged(tmp_path):
    def records():
        yield b"one"
        raise ValueError("bad image")

    with pytest.raises(ValueError, match="^bad image$"):
        tfrecord.write_shard(str(tmp_path / "x.tfrecord"), records())
    assert os.listdir(tmp_path) == []

"""Preparation of a data set: contents, determinism, resuming, and errors before work starts."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from oasis_tf.data import pipeline, preparation, tfrecord, workers
from oasis_tf.data.datasets import folder_label_space
from oasis_tf.data.examples import FilePair
from oasis_tf.data.layouts import find_examples
from oasis_tf.data.overview import contact_sheet
from oasis_tf.data.preparation import prepare
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io import files, json_files

SPACE = folder_label_space(4, 3)
NAMES = [f"{k:02d}" for k in range(25)]


@pytest.fixture
def source(tmp_path, write_pairs):
    """A folder data set: 25 training and 3 validation pairs, raw ids 0…2 and unknown 3."""
    root = tmp_path / "source"
    write_pairs(root / "train/images", root / "train/labels", NAMES)
    write_pairs(root / "val/images", root / "val/labels", ["z", "x", "y"], seed=1)
    return root


@pytest.fixture
def work(source, tmp_path):
    """A function that prepares `source` in `output` (3 shards, no worker processes)."""

    def run(output=tmp_path / "output", **options):
        splits, _ = find_examples("folder", str(source), num_classes=4, unknown_label=3)
        options = {"num_shards": 3, "num_workers": 1} | options
        return prepare(splits, SPACE, str(output), **options)

    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def records(prepared, split):
    return [
        tfrecord.parse_example(record)
        for record in tf.data.TFRecordDataset(prepared.shard_paths(split))
    ]


@pytest.fixture
def stop_after(monkeypatch):
    """function(chunks): `workers.encode` fails after so many chunks; returns a function to undo."""

    def stop(chunks):
        encode, calls = workers.encode, []

        def failing(sources):
            calls.append(1)
            if len(calls) > chunks:
                raise KeyboardInterrupt
            return encode(sources)

        monkeypatch.setattr(workers, "encode", failing)
        return lambda: monkeypatch.setattr(workers, "encode", encode)

    return stop


# === Contents ===


def test_all_examples_are_written(work, source):
    prepared = work()
    assert prepared == PreparedDataset.load(prepared.data_dir)
    assert prepared.label_space == SPACE
    assert [prepared.num_examples(split) for split in ("train", "val")] == [25, 3]
    assert [shard.num_examples for shard in prepared.splits["train"].shards] == [8, 8, 9]
    pixels, images = np.zeros(4, int), np.zeros(4, int)
    seen = set()
    for fields in records(prepared, "train"):
        key = fields["key"].numpy().decode()
        seen.add(key)
        image = (source / f"train/images/{key}.jpg").read_bytes()
        assert fields["image"].numpy() == image and fields["image_format"] == b"jpeg"
        raw = tf.io.decode_png((source / f"train/labels/{key}.png").read_bytes())[..., 0].numpy()
        labels = tf.io.decode_png(fields["label"])[..., 0].numpy()
        np.testing.assert_array_equal(labels, (raw + 1) % 4)
        pixels += np.bincount(labels.ravel(), minlength=4)
        images += np.isin(range(4), labels)
    assert seen == set(NAMES)
    assert prepared.splits["train"].class_pixels == tuple(pixels)
    assert prepared.splits["train"].class_images == tuple(images)
    sheet = np.asarray(Image.open(f"{prepared.data_dir}/contact_sheet.png"))
    np.testing.assert_array_equal(sheet, contact_sheet(prepared))
    assert prepared.class_frequency == pytest.approx(pixels / pixels.sum())


def test_training_records_are_shuffled_and_validation_records_sorted(work):
    prepared = work()
    train = [fields["key"].numpy().decode() for fields in records(prepared, "train")]
    assert train != sorted(train)
    assert [fields["key"] for fields in records(prepared, "val")] == [b"x", b"y", b"z"]


def test_shards_do_not_depend_on_the_number_of_workers(work, tmp_path):
    one = work(tmp_path / "one", num_workers=1)
    two = work(tmp_path / "two", num_workers=2)
    assert contents(one.data_dir) == contents(two.data_dir)
    assert sorted(contents(one.data_dir)) == [
        "contact_sheet.png",
        "dataset.json",
        *(f"train-0000{k}-of-00003.tfrecord" for k in range(3)),
        *(f"val-0000{k}-of-00003.tfrecord" for k in range(3)),
    ]


def test_training_images_at_another_size(work, tmp_path, source):
    prepared = work(training_size=(5, 6))
    assert prepared == PreparedDataset.load(prepared.data_dir)
    sizes = [
        {(int(fields["height"]), int(fields["width"])) for fields in records(prepared, split)}
        for split in ("train", "val")
    ]
    assert sizes == [{(5, 6)}, {(10, 12)}]
    assert sum(prepared.splits["train"].class_pixels) == 25 * 5 * 6
    prepared.check_training_size(5, 6)
    prepared.check_training_size(3, 4)
    for size in ((6, 6), (5, 7)):
        with pytest.raises(ValueError, match="stored at 5×6 .* enlarge them to .*or train with"):
            prepared.check_training_size(*size)
    with pytest.raises(ValueError, match="stored at 5×6"):
        pipeline.training_batches(
            prepared.data_dir, crop_height=6, crop_width=6, batch_size=1, seed=0
        )
    with pytest.raises(ValueError, match="at least 1×1. Received: --resize_height=0"):
        work(tmp_path / "other", training_size=(0, 5))
    same = work(tmp_path / "same", training_size=(10, 12))  # nothing to resize: files as they are
    jpeg = (source / "train/images/00.jpg").read_bytes()
    assert jpeg in [fields["image"].numpy() for fields in records(same, "train")]


@pytest.mark.parametrize(("num_shards", "train", "val"), [(0, 1, 1), (7, 7, 3), (1000, 25, 3)])
def test_number_of_shards(work, num_shards, train, val):
    splits = work(num_shards=num_shards).splits
    assert (len(splits["train"].shards), len(splits["val"].shards)) == (train, val)
    assert min(shard.num_examples for shard in splits["train"].shards) > 0


@pytest.mark.parametrize("limit", [{"EXAMPLES_PER_SHARD": 10}, {"BYTES_PER_SHARD": 5000}])
def test_long_shards_are_divided(monkeypatch, work, source, limit):
    for name, value in limit.items():
        monkeypatch.setattr(preparation, name, value)
    num_bytes = sum(path.stat().st_size for path in (source / "train/images").iterdir())
    expected = 3 if "EXAMPLES_PER_SHARD" in limit else 1 + num_bytes // 5000
    assert len(work(num_shards=0).splits["train"].shards) == expected > 1


# === Resuming ===


@pytest.mark.parametrize("chunks", [0, 1, 2, 3, 4, 5])
def test_interrupted_work_continues_to_the_same_bytes(work, tmp_path, stop_after, chunks):
    expected = contents(work(tmp_path / "whole").data_dir)
    undo = stop_after(chunks)
    with pytest.raises(KeyboardInterrupt):
        work()
    undo()
    output = tmp_path / "output"
    with pytest.raises(FileNotFoundError, match="has no dataset.json.*again"):
        PreparedDataset.load(str(output))
    before = {path.name: path.stat().st_ino for path in output.glob("*.tfrecord")}
    assert contents(work().data_dir) == expected
    for name, inode in before.items():  # finished shards were not written again
        assert (output / name).stat().st_ino == inode


def test_damaged_or_changed_shards_are_written_again(work, source, tmp_path, stop_after):
    undo = stop_after(5)
    with pytest.raises(KeyboardInterrupt):
        work()
    undo()
    output = tmp_path / "output"
    first, second, third = sorted(output.glob("train*.tfrecord"))
    damaged = bytearray(first.read_bytes())
    damaged[100] ^= 1
    first.write_bytes(damaged)
    key = next(iter(tfrecord.parse_example(r) for r in tf.data.TFRecordDataset(str(second))))["key"]
    os.utime(source / f"train/images/{key.numpy().decode()}.jpg", (1, 1))
    inodes = [path.stat().st_ino for path in (first, second, third)]
    prepared = work()
    kept = [
        path.stat().st_ino == inode
        for path, inode in zip((first, second, third), inodes, strict=True)
    ]
    assert kept == [False, False, True]
    assert contents(prepared.data_dir) == contents(work(tmp_path / "whole").data_dir)


def test_other_settings_and_leftover_files_start_again(work, tmp_path, stop_after):
    undo = stop_after(4)
    with pytest.raises(KeyboardInterrupt):
        work(num_shards=4)
    undo()
    output = tmp_path / "output"
    (output / ".train-00000-of-00004.123.tmp.tfrecord").write_bytes(b"half")
    work(num_shards=2)
    assert contents(output) == contents(work(tmp_path / "whole", num_shards=2).data_dir)


def test_damaged_journal_starts_again(work, tmp_path, stop_after, capsys):
    undo = stop_after(4)
    with pytest.raises(KeyboardInterrupt):
        work()
    undo()
    (tmp_path / "output/preparation.json").write_text("{")
    assert contents(work().data_dir) == contents(work(tmp_path / "whole").data_dir)
    assert "preparation.json is damaged; all shards are written again" in capsys.readouterr().err


# === Existing outputs ===


def test_prepared_data_is_replaced_only_when_asked(work, write_pairs, source):
    data_dir = work().data_dir
    with pytest.raises(ValueError, match="holds a prepared data set already.*--overwrite"):
        work()
    write_pairs(source / "train/images", source / "train/labels", ["new"])
    assert work(num_shards=2, overwrite=True).num_examples("train") == 26
    assert len(contents(data_dir)) == 6


def test_interrupted_overwriting_leaves_no_data_set(work, stop_after):
    data_dir = work().data_dir
    undo = stop_after(1)
    with pytest.raises(KeyboardInterrupt):
        work(overwrite=True)
    undo()
    with pytest.raises(FileNotFoundError, match="has no dataset.json"):
        PreparedDataset.load(data_dir)


def test_foreign_files_are_never_touched(work, tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    (output / "thesis.tex").write_text("")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"holds other files \(thesis.tex\).*--output"):
            work(overwrite=overwrite)
    assert list(contents(output)) == ["thesis.tex"]


def test_output_that_is_a_file(work, tmp_path):
    (tmp_path / "output").write_text("")
    with pytest.raises(ValueError, match="output is a file; name a folder"):
        work()


def test_output_that_cannot_be_made(work, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write .*file/output: .*--output"):
        work(tmp_path / "file" / "output")


def test_too_little_room_is_found_before_work_starts(work, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="Cannot write .*output: about 0.0 GB are needed.*Make room"):
        work()
    assert contents(tmp_path / "output") == {}


def test_too_little_room_for_overwriting_keeps_the_old_data_set(work, monkeypatch):
    data_dir = work().data_dir
    before = contents(data_dir)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    monkeypatch.setattr(FilePair, "num_bytes", lambda self: 10_000)
    with pytest.raises(OSError, match="are needed and .* are free. The data set is not prepared"):
        work(overwrite=True)
    assert contents(data_dir) == before
    monkeypatch.setattr(FilePair, "num_bytes", lambda self: 100)  # fits once the old one is removed
    work(overwrite=True)
    assert contents(data_dir) == before


def test_killed_when_the_data_set_is_complete(work):
    """Then only the journal must be removed. Another data set is refused."""
    data_dir = work().data_dir
    Path(data_dir, "preparation.json").write_text("{}")
    before = contents(data_dir)
    with pytest.raises(ValueError, match="holds a prepared data set already"):
        work(num_shards=2)
    del before["preparation.json"]
    assert contents(data_dir) == before


# === Label files ===


def test_label_files_of_an_interrupted_run(work, tmp_path, monkeypatch):
    labels, save, left = tmp_path / "labels", Image.Image.save, 2

    def failing(self, path, *arguments, **options):
        nonlocal left
        left -= isinstance(path, str)  # others are not files but parts of records
        if left < 0:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(self, path, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", failing)
    # The folder is a data set only after the label files, so that the same command continues.
    with pytest.raises(OSError, match="Cannot write .*z.png: No space left on device. Make room"):
        work(label_files=str(labels))
    assert "dataset.json" not in contents(tmp_path / "output")
    assert sorted(contents(labels)) == ["x.png", "y.png"]
    monkeypatch.undo()
    killed = f".y.{'0' * 16}.tmp.png"
    for name in (killed, ".yours.123.tmp.png", ".z.tmp.png"):
        (labels / name).write_bytes(b"half")
    files._remove_stale.cache_clear()
    work(label_files=str(labels))
    assert sorted(contents(labels)) == [
        ".yours.123.tmp.png",
        ".z.tmp.png",
        "x.png",
        "y.png",
        "z.png",
    ]


def test_label_files_need_a_validation_split(tmp_path, source):
    splits, _ = find_examples("folder", str(source), num_classes=4, unknown_label=3)
    del splits["val"]
    with pytest.raises(ValueError, match="--label_files=l is for .*--val_image_dir.*--val_frac"):
        prepare(splits, SPACE, str(tmp_path / "output"), label_files="l")
    assert not (tmp_path / "output").exists()


# === Invalid sources ===


def test_all_invalid_files_are_counted_and_ten_named(work, source, tmp_path):
    for name in NAMES[:11]:
        (source / f"train/images/{name}.jpg").write_bytes(b"")
    (source / "train/images/11.jpg").unlink()
    (source / "train/images/11.jpg").symlink_to("nowhere")
    with pytest.raises(ValueError) as error:
        work()
    lines = str(error.value).splitlines()
    assert lines[0] == "12 of 28 examples cannot be used:" and lines[-1] == "and 2 more"
    assert len(lines) == 12
    for name, line in zip(NAMES, lines[1:-1], strict=False):
        assert f"train/images/{name}.jpg" in line and "annot be read as an image" in line
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("num_workers", [1, 2])
def test_wrong_files_and_values_of_both_splits_are_told_at_once(
    work, source, tmp_path, num_workers
):
    for k, path in enumerate(("train/labels/03", "train/labels/11", "val/labels/y")):
        Image.fromarray(np.full((10, 12), (77, 40, 77)[k], np.uint8)).save(source / f"{path}.png")
    Image.new("L", (11, 10)).save(source / "train/labels/05.png")
    with open(source / "val/images/x.jpg", "r+b") as file:
        file.truncate(300)
    with pytest.raises(ValueError) as error:
        work(num_workers=num_workers)
    title, *lines, last = str(error.value).splitlines()
    assert title == "5 of 28 examples cannot be used:"
    for line, expected in zip(
        lines,
        (
            "train/images/05.jpg is 12×10 but",
            "train/labels/03.png: label values 77 are outside",
            "train/labels/11.png: label values 40 are outside",
            "val/labels/y.png: label values 77 are outside",
            "val/images/x.jpg (",
        ),
        strict=True,
    ):
        assert expected in line
    assert last == "Values of no class in all of these files: 40 (in 1), 77 (in 2)."
    assert not (tmp_path / "output").exists()


def test_numbers_are_checked(work):
    for option in ("num_shards", "num_workers"):
        with pytest.raises(ValueError, match=f"--{option}=-1"):
            work(**{option: -1})


def test_journal_is_removed_and_json_is_plain(work):
    data_dir = work().data_dir
    assert not os.path.exists(f"{data_dir}/preparation.json")
    values = json_files.read(Path(data_dir, "dataset.json"))
    assert sorted(values) == ["class_frequency", "format_version", "label_space", "splits"]

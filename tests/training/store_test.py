"""Checkpoints: whole or absent, and verified."""

import builtins
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import oasis_tf
from oasis_tf.training.metrics_file import MetricsFile
from oasis_tf.training.store import CheckpointStore, DamagedCheckpointError, assign_all

ARRAYS = {"a/kernel": np.arange(6.0).reshape(2, 3), "step": np.int64(4)}
STATE = {"a/u": np.ones(3, np.float32)}


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(str(tmp_path), max_to_keep=2)


def damage(store, step, name="training.npz", how="truncated"):
    path = os.path.join(store.path(step), name)
    if how == "missing":
        os.remove(path)
        return
    with open(path, "r+b") as file:
        if how == "truncated":
            file.truncate(os.path.getsize(path) // 2)
        else:
            file.seek(os.path.getsize(path) // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))


def test_arrays_come_back(store):
    store.save(4, ARRAYS, STATE)
    assert store.steps() == [4]
    for name, wanted in (("training", ARRAYS), ("inference", STATE)):
        got = store.read(4, name)
        assert set(got) == set(wanted)
        for key, value in wanted.items():
            np.testing.assert_array_equal(got[key], value)
            assert got[key].dtype == np.asarray(value).dtype
    assert sorted(os.listdir(store.path(4))) == ["inference.npz", "manifest.json", "training.npz"]


def test_a_checkpoint_without_inference_arrays_has_no_file_of_them(store):
    store.save(4, ARRAYS, {})
    assert sorted(os.listdir(store.path(4))) == ["manifest.json", "training.npz"]
    step, arrays = store.newest()
    assert step == 4 and set(arrays) == set(ARRAYS)
    with pytest.raises(DamagedCheckpointError, match="inference.npz is not what"):
        store.read(4, "inference")


def test_no_checkpoint(store):
    assert store.steps() == [] and store.newest() is None


@pytest.mark.parametrize("how", ["truncated", "altered", "missing"])
def test_damage_is_named_and_skipped(store, how, caplog):
    for step in (1, 2):
        store.save(step, ARRAYS | {"step": np.int64(step)}, STATE)
    damage(store, 2, how=how)
    with pytest.raises(DamagedCheckpointError, match=r"step_00000002 is damaged: training.npz is"):
        store.read(2, "training")
    store.read(2, "inference")
    step, arrays = store.newest()
    assert step == 1 and arrays["step"] == 1
    assert "step_00000002 is damaged" in caplog.text and "Skipped" in caplog.text


@pytest.mark.parametrize("manifest", [None, "", "[]", "{}", '{"training.npz": 3}'])
def test_a_bad_manifest_is_damage(store, manifest):
    store.save(1, ARRAYS, STATE)
    path = os.path.join(store.path(1), "manifest.json")
    os.remove(path)
    if manifest is not None:
        with open(path, "w") as file:
            file.write(manifest)
    with pytest.raises(DamagedCheckpointError):
        store.read(1, "training")
    with pytest.raises(DamagedCheckpointError, match="No checkpoint of .* is whole"):
        store.newest()


def test_without_a_whole_checkpoint_all_are_named_with_the_remedy(store):
    for step in (1, 2):
        store.save(step, ARRAYS, STATE)
    damage(store, 1, "inference.npz")
    damage(store, 2, how="altered")
    message = (
        "No checkpoint of .* is whole. .*step_00000002 is damaged: training.npz .*step_00000001 "
        "is damaged: inference.npz .* Restore one .* from step 0, move .*checkpoints away"
    )
    for ask in (store.newest, store.load):
        with pytest.raises(DamagedCheckpointError, match=message):
            ask()


@pytest.mark.parametrize("name", ["training.npz", "inference.npz", "manifest.json", "folder"])
def test_what_cannot_be_read_is_not_damaged(store, monkeypatch, name):
    """Also not skipped for the one before it: the run would go on from there, and drop it."""
    for step in (1, 2):
        store.save(step, ARRAYS, STATE)

    def denied(path, *args, **kwargs):
        if path == store.folder or str(path).endswith(f"step_00000002/{name}"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opened(path, *args, **kwargs)

    owner, call = (os, "listdir") if name == "folder" else (builtins, "open")
    opened = getattr(owner, call)
    monkeypatch.setattr(owner, call, denied)
    message = "Cannot read .*(step_00000002|checkpoints): Permission denied. It may be whole: mend"
    for ask in (store.newest, store.load):
        with pytest.raises(OSError, match=message) as caught:
            ask()
        assert not isinstance(caught.value, DamagedCheckpointError)


def test_a_flipped_bit_of_the_manifest_is_damage(store):
    store.save(1, ARRAYS, STATE)
    path = Path(store.path(1), "manifest.json")
    data = path.read_bytes()
    at = data.index(b"inference.npz") + 8  # under another name, it would not be looked at
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(DamagedCheckpointError):
        store.newest()


def test_the_manifest_of_an_earlier_release_has_no_digest(store):
    store.save(1, ARRAYS, STATE)
    path = Path(store.path(1), "manifest.json")
    contents = json.loads(path.read_text())
    del contents["digest"]
    path.write_text(json.dumps(contents))
    assert store.newest()[0] == 1


def test_damaged_checkpoints_of_later_steps_do_not_drop_what_is_saved(store):
    for step in (2, 4, 6):
        store.save(step, ARRAYS, STATE)
    for step in (4, 6):
        damage(store, step)
    store.max_to_keep = 1
    best = []
    store.save(3, ARRAYS, STATE, lambda steps: best.append(steps))
    assert store.steps() == [3, 4, 6] and best == [[3]]
    store.save(4, ARRAYS, STATE)  # in the place of the damaged one
    assert store.steps() == [4, 6] and store.newest()[0] == 4


def test_keeps_the_newest_and_the_first_of_every_period(tmp_path):
    store = CheckpointStore(str(tmp_path), max_to_keep=2, keep_every=10)
    for step in (4, 8, 12, 16, 20, 24, 28):
        store.save(step, ARRAYS, STATE)
    assert store.steps() == [12, 20, 24, 28]
    plain = CheckpointStore(str(tmp_path), max_to_keep=1)
    plain.save(32, ARRAYS, STATE)
    assert plain.steps() == [32]


@pytest.mark.parametrize(
    ("best", "kept"), [(8, [8, 20, 24]), (24, [20, 24]), (12, [12, 20, 24]), (None, [20, 24])]
)
def test_the_best_is_kept_besides(store, best, kept):
    asked = []
    for step in (4, 8, 12, 16, 20, 24):
        store.save(step, ARRAYS, STATE, lambda steps: asked.append(steps) or best)
    assert store.steps() == kept
    assert asked[0] == [4] and asked[-1][-2:] == [20, 24]


def test_the_best_of_before_is_dropped_once_there_is_a_better(store):
    for step, best in ((4, 4), (8, 4), (12, 4), (16, 16), (20, 16)):
        store.save(step, ARRAYS, STATE, lambda _, best=best: best)
    assert store.steps() == [16, 20]


def test_leftovers_of_a_killed_process_are_removed(store):
    leftover = os.path.join(store.folder, ".step_00000003.123")
    os.makedirs(leftover)
    store.save(4, ARRAYS, STATE)
    assert os.listdir(store.folder) == ["step_00000004"]


def test_a_step_saved_again_takes_the_place_of_the_old(store):
    store.save(4, ARRAYS, STATE)
    store.save(4, {"a/kernel": np.zeros(1)}, STATE)
    assert list(store.read(4, "training")) == ["a/kernel"]


@pytest.mark.parametrize("failing", [0, 1])
def test_a_full_disk_leaves_what_was_there(store, monkeypatch, failing):
    store.save(1, ARRAYS, STATE)
    savez, calls = np.savez, []

    def full(file, **arrays):
        calls.append(arrays)
        file.write(b"half")
        if len(calls) > failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        savez(file, **arrays)

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"Cannot write .*step_00000002: No space left .* Make room"):
        store.save(2, ARRAYS, STATE)
    assert os.listdir(store.folder) == ["step_00000001"]
    np.testing.assert_array_equal(store.newest()[1]["step"], 4)


class Variable:
    """As much of a variable as `assign_all` looks at."""

    def __init__(self, value):
        self.value = np.array(value)

    @property
    def shape(self):
        return self.value.shape

    def assign(self, value):
        self.value = np.array(value)


def test_assign_all_assigns_by_name():
    variables = {"a": Variable([1.0, 2.0]), "b": Variable(3)}
    assign_all(variables, {"b": np.array(4), "a": np.array([5.0, 6.0]), "more": np.ones(9)}, "here")
    np.testing.assert_array_equal(variables["a"].value, [5, 6])
    assert variables["b"].value == 4


def test_assign_all_lists_every_problem_and_assigns_nothing():
    variables = {"good": Variable([0.0]), "kernel": Variable([[1.0]]), "up_0/u": Variable([2.0])}
    arrays = {"good": np.ones(1), "kernel": np.zeros(3)}
    with pytest.raises(ValueError, match="here does not fit this model") as caught:
        assign_all(variables, arrays, "here")
    assert "up_0/u is missing" in str(caught.value)
    assert "kernel has shape (3,), not (1, 1)" in str(caught.value)
    assert [v.value.item() for v in variables.values()] == [0, 1, 2]


# === The checkpoint that is asked for ===


def test_load_takes_the_newest_the_named_or_the_best(store):
    metrics = MetricsFile(store.model_dir)
    for step, score in ((3, 0.5), (5, 0.9), (7, 0.4)):
        metrics.append_evaluation(step, {"fid_toy": score, "segmentation/miou": score})
        if step != 5:
            store.save(step, ARRAYS | {"step": np.int64(step)}, STATE)
    for asked, found in ((None, 7), (3, 3), ("best", 7)):
        step, arrays = store.load(asked)
        assert step == arrays["step"] == found
    assert store.load("best", "segmentation/miou")[0] == 3
    damage(store, 7, name="inference.npz")
    assert store.load()[0] == 3
    damage(store, 3)
    with pytest.raises(DamagedCheckpointError, match="step_00000003 is damaged"):
        store.load("best", "segmentation/miou")


def test_load_errors(store):
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet. Train on, or use"):
        store.load()
    for step in (3, 7):
        store.save(step, ARRAYS, STATE)
    with pytest.raises(ValueError, match=r"no best checkpoint: none of \[3, 7\] was evaluated"):
        store.load("best")
    for absent in (5, "newest"):
        with pytest.raises(ValueError, match=rf"has no checkpoint {absent}. It has: \[3, 7\]"):
            store.load(absent)


def test_reading_checkpoints_needs_no_tensorflow(store):
    """So that whatever asks for a checkpoint's folder answers at once."""
    store.save(4, ARRAYS, STATE)
    code = (
        "import sys; from oasis_tf.training.store import CheckpointStore; "
        f"assert CheckpointStore({store.model_dir!r}).newest()[0] == 4; "
        "assert 'tensorflow' not in sys.modules"
    )
    source = str(Path(oasis_tf.__file__).parents[1])
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": source}
    )

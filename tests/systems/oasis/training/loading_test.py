"""Checkpoints: whole or absent, verified, and all there is to a run."""

import errno
import json
import os

import numpy as np
import pytest

from oasis_tf import OASIS
from oasis_tf.systems.oasis.build import build_model
from oasis_tf.training.metrics_file import MetricsFile
from oasis_tf.training.named_weights import forward_state, named_weights
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


def test_every_variable_of_a_run_comes_back(store, perturbed):
    """Both networks, the average, both optimizers, the step."""
    task, arrays = perturbed
    model = task.model
    objects = [*model.generator.variables, *model.generator_ema.variables]
    objects += [*model.discriminator.variables, model.step]
    objects += [*model.generator_optimizer.variables, *model.discriminator_optimizer.variables]
    variables = task.variables()
    assert {id(v) for v in variables.values()} == {id(v) for v in objects}
    assert len(variables) == len(objects)
    store.save(1, {name: v.numpy() for name, v in variables.items()}, {})
    for variable in variables.values():
        variable.assign(np.zeros(variable.shape))
    assign_all(variables, store.read(1, "training"), "here")
    for name, variable in task.variables().items():
        np.testing.assert_array_equal(variable.numpy(), arrays[name], err_msg=name)


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
    assert store.newest() is None


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


def test_assign_all_lists_every_problem_and_assigns_nothing(task):
    variables = {k: v for k, v in task.variables().items() if k.startswith("discriminator/up_0/")}
    before = {name: v.numpy() for name, v in variables.items()}
    arrays = {name: value + 1 for name, value in before.items()}
    del arrays["discriminator/up_0/conv_0/u"]
    arrays["discriminator/up_0/conv_0/bias"] = np.zeros(3)
    with pytest.raises(ValueError, match="here does not fit this model") as caught:
        assign_all(variables, arrays, "here")
    assert "up_0/conv_0/u is missing" in str(caught.value)
    assert "up_0/conv_0/bias has shape (3,), not (2,)" in str(caught.value)
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable.numpy(), before[name])


# === Models ===


@pytest.fixture(scope="module")
def saved(make_config, tmp_path_factory):
    """(model directory, arrays of step 3, statistics of step 3); step 7 holds other numbers."""
    config, path = make_config(), str(tmp_path_factory.mktemp("model"))
    config.save(path)
    model, rng = build_model(config), np.random.default_rng(0)
    names = {
        f"{name}/{key}": variable.shape
        for name in ("generator", "generator_ema", "discriminator")
        for key, variable in named_weights(getattr(model, name)).items()
    }
    states = {name: v.shape for name, v in forward_state(model.generator_ema).items()}
    saved = {}
    for step in (3, 7):
        arrays = {name: rng.random(shape, np.float32) for name, shape in names.items()}
        arrays["step"] = np.int64(step)
        statistics = {name: rng.random(shape, np.float32) for name, shape in states.items()}
        saved[step] = (arrays, statistics)
        CheckpointStore(path).save(step, arrays, statistics)
    return path, saved


@pytest.mark.parametrize("step", [None, 3])
def test_load_gives_the_average_its_own_statistics(saved, step):
    path, contents = saved
    model = OASIS.load(path, step)
    arrays, statistics = contents[step or 7]
    assert int(model.step.numpy()) == (step or 7)
    assert model.label_space.num_classes == 12 and model.config.model.noise_channels == 4
    for name in ("generator", "discriminator"):
        for key, variable in named_weights(getattr(model, name)).items():
            np.testing.assert_array_equal(variable.numpy(), arrays[f"{name}/{key}"])
    for key, variable in named_weights(model.generator_ema).items():
        want = statistics.get(key, arrays[f"generator_ema/{key}"])
        np.testing.assert_array_equal(variable.numpy(), want)


def test_load_takes_the_best_by_the_evaluations(saved, make_config, tmp_path):
    path, contents = saved
    with pytest.raises(ValueError, match=r"no best checkpoint: none of \[3, 7\] was evaluated"):
        OASIS.load(path, "best")
    with pytest.raises(ValueError, match=r"has no checkpoint newest. It has: \[3, 7\]"):
        OASIS.load(path, "newest")
    make_config(best_metric="segmentation/miou").save(tmp_path)
    store, metrics = CheckpointStore(str(tmp_path)), MetricsFile(str(tmp_path))
    for step, score in ((3, 0.5), (5, 0.9), (7, 0.4)):
        metrics.append_evaluation(step, {"fid_seeded64": score, "segmentation/miou": score})
        if step in contents:
            store.save(step, *contents[step])
    assert int(OASIS.load(str(tmp_path), "best").step.numpy()) == 3
    damage(store, 3)
    with pytest.raises(DamagedCheckpointError, match="step_00000003 is damaged"):
        OASIS.load(str(tmp_path), checkpoint="best")


def test_load_errors(saved, make_config, tmp_path):
    path, _ = saved
    with pytest.raises(ValueError, match=r"has no checkpoint 5. It has: \[3, 7\]"):
        OASIS.load(path, 5)
    with pytest.raises(FileNotFoundError, match="not a model directory"):
        OASIS.load(str(tmp_path))
    make_config().save(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="has no whole checkpoint yet"):
        OASIS.load(str(tmp_path))


@pytest.mark.parametrize("name", ["training.npz", "inference.npz"])
def test_load_skips_a_damaged_checkpoint(saved, tmp_path, name):
    path, contents = saved
    with open(os.path.join(path, "config.json")) as file:
        (tmp_path / "config.json").write_text(json.dumps(json.load(file)))
    store = CheckpointStore(str(tmp_path))
    for step, content in contents.items():
        store.save(step, *content)
    damage(store, 7, name)
    assert int(OASIS.load(str(tmp_path)).step.numpy()) == 3
    with pytest.raises(DamagedCheckpointError, match=f"{name} is not what"):
        OASIS.load(str(tmp_path), 7)

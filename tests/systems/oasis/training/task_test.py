"""OASIS in the loop: what its runs leave, that they continue exactly, and their evaluations."""

import contextlib
import dataclasses
import io
import math
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf import OASIS
from oasis_tf.data.tfrecord import PreparedDataset
from oasis_tf.io import json_files
from oasis_tf.metrics import evaluation
from oasis_tf.metrics.reports import evaluation_file
from oasis_tf.systems.oasis.task import OASISTask
from oasis_tf.training import loop
from oasis_tf.training.store import CheckpointStore


@pytest.fixture(scope="module")
def train(shared_task):
    """`loop.train` on the shared, compiled task."""
    return lambda config, model_dir: loop.train(config, str(model_dir), shared_task)


@pytest.fixture(scope="module")
def straight(train, make_config, tmp_path_factory):
    """(configuration, directory) of six steps in one go."""
    path = tmp_path_factory.mktemp("straight")
    config = make_config(log_every=2, checkpoint_every=6, image_every=6)
    train(config, path)
    return config, path


def metrics(path):
    with open(path / "metrics.jsonl") as file:
        return [json_files.loads(line) for line in file]


def stop_at(monkeypatch, task, step, act):
    """Has `act(logs)` called after a step; what it returns takes the place of the step's logs."""
    train_step = task.train_step

    def wrapped(batch):
        logs = train_step(batch)
        done = int(task.model.step.numpy())
        return act(logs) if done == step else logs

    monkeypatch.setattr(task, "train_step", wrapped)


def assert_same_arrays(got, want, steps):
    for name in ("training", "inference"):
        ours, theirs = (CheckpointStore(str(path)).read(steps, name) for path in (got, want))
        assert list(ours) == list(theirs)
        for key, array in theirs.items():
            np.testing.assert_array_equal(ours[key], array, err_msg=key)


def test_a_run_leaves_all_that_is_promised(straight):
    config, path = straight
    names = {"checkpoints", "config.json", "metrics.jsonl", "samples", "tensorboard"}
    assert set(os.listdir(path)) == names
    assert [row["step"] for row in metrics(path)] == [2, 4, 6]
    assert all(np.isfinite(list(row.values())).all() for row in metrics(path))
    assert sorted(os.listdir(path / "samples")) == ["labelmix_00000006.png", "samples_00000006.png"]
    assert CheckpointStore(str(path)).steps() == [6]
    model = OASIS.load(str(path))
    image = model.generate(np.zeros((32, 32), np.int32))
    assert int(model.step.numpy()) == 6 and np.isfinite(image).all()
    assert model.config == config


def test_a_run_that_is_stopped_and_repeated_is_the_run_that_never_stopped(
    straight, train, task, changed, tmp_path, monkeypatch
):
    """Stopped at step 3, in the middle of a line of metrics; saved more often besides."""
    config = changed(straight[0], checkpoint_every=2)
    with monkeypatch.context() as patch:
        stop_at(patch, task, 3, lambda logs: os.kill(os.getpid(), signal.SIGTERM) or logs)
        with pytest.raises(SystemExit):
            train(config, tmp_path)
    assert CheckpointStore(str(tmp_path)).steps() == [2, 3]
    train(config, tmp_path)
    assert metrics(tmp_path) == metrics(straight[1])
    assert_same_arrays(tmp_path, straight[1], 6)


def test_a_run_from_another_model_s_weights_needs_it_once(
    straight, train, task, changed, tmp_path, capsys
):
    """The model that it starts from goes; the run continues bit by bit. Its seed is the same."""
    source = shutil.copytree(straight[1], tmp_path / "SOURCE")
    config = changed(straight[0], init_from=str(source), init_step=6, steps=4, checkpoint_every=4)
    train(config, tmp_path / "straight")
    assert f"Starting from step 6 of {source}. Carried over" in capsys.readouterr().out
    train(changed(config, steps=2), tmp_path / "stopped")
    shutil.rmtree(source)
    train(config, tmp_path / "stopped")
    assert_same_arrays(tmp_path / "stopped", tmp_path / "straight", 4)
    assert metrics(tmp_path / "straight")[0]["loss_g"] != metrics(straight[1])[0]["loss_g"]
    with pytest.raises(FileNotFoundError, match=f"--init_from={source}: .* not a model directory"):
        train(config, tmp_path / "new")


def test_the_batch_of_a_loss_that_is_not_finite_is_kept(
    straight, train, task, tmp_path, monkeypatch
):
    batches, train_step = [], task.train_step
    monkeypatch.setattr(
        task, "train_step", lambda batch: batches.append(batch) or train_step(batch)
    )
    stop_at(monkeypatch, task, 4, lambda logs: logs | {"loss_g": tf.constant(np.nan)})
    message = "loss_g is nan at step 4. .* another --model_dir with lower --lr_g and --lr_d, or"
    with pytest.raises(FloatingPointError, match=message):
        train(straight[0], tmp_path)
    with np.load(tmp_path / "nonfinite" / "step_00000004.npz") as arrays:
        np.testing.assert_array_equal(arrays["image"], batches[3][0])
        np.testing.assert_array_equal(arrays["label_map"], batches[3][1])
        assert np.isnan(arrays["loss_g"]) and np.isfinite(arrays["loss_d_real"])


def test_damaged_records_stop_a_run_unless_they_are_left_out(
    straight, train, task, data_dir, tmp_path, monkeypatch
):
    """One byte of every shard is another one; without its record a batch comes none the less."""
    copy = Path(shutil.copytree(data_dir, tmp_path / "data"))
    for shard in copy.glob("*.tfrecord"):
        contents = bytearray(shard.read_bytes())
        contents[len(contents) // 2] ^= 1
        shard.write_bytes(contents)
    tasks = []
    for skip_corrupt in (False, True):
        data = dataclasses.replace(straight[0].data, data_dir=str(copy), skip_corrupt=skip_corrupt)
        config = dataclasses.replace(straight[0], data=data)
        tasks.append(OASISTask(config, tf.distribute.get_strategy()))
    monkeypatch.setattr(task, "batches", tasks[0].batches)
    with pytest.raises(ValueError, match="^Damaged record: .*train-.* --skip_corrupt.$"):
        train(straight[0], tmp_path / "model")
    assert next(iter(tasks[1].batches(0)))[0].shape == (2, 32, 32, 3)
    assert tasks[1].global_batch(1)["label_map"].shape == (2, 32, 32)
    assert tasks[1]._preview_scenes()[0].shape == (1, 32, 32, 3)


@pytest.mark.parametrize(
    ("count", "places"),
    [(1, [0]), (2, [0, 1]), (4, [0, 1, 2, 3]), (7, [0, 2, 4, 6]), (200, [25, 75, 125, 175])],
)
def test_previews_are_spread_over_the_split(task, monkeypatch, count, places):
    taken = []
    monkeypatch.setattr(PreparedDataset, "num_examples", lambda *_: count)
    scenes = lambda *_, at, **__: taken.append(at) or [at]  # noqa: E731
    monkeypatch.setattr("oasis_tf.systems.oasis.task.evaluation_batches", scenes)
    task._preview_scenes()
    assert taken == [places]


def test_what_a_line_shows_is_judged(task):
    """By the loss of guessing among twelve classes and "fake", and by the weight of LabelMix."""
    means = {"loss_g": 3.0, "loss_d_real": 2.6, "accuracy_real": 0.0, "accuracy_fake": 1.0}
    assert task.symptom(300, means | {"loss_labelmix": 90.0}) is None
    text = task.symptom(300, means | {"loss_labelmix": 21439.0})
    assert "diverged" in text and "loss_labelmix 21439; guessing has loss_d_real 2.56" in text


def test_the_loss_scale_is_shown_where_there_is_one(make_config, task):
    rates = {"learning_rate/generator": 1e-4, "learning_rate/discriminator": 4e-4}
    assert task.scalars() == rates
    scaled = OASISTask(make_config(mixed_precision="float16"), tf.distribute.get_strategy())
    scales = {"loss_scale/generator": 2.0**15, "loss_scale/discriminator": 2.0**15}
    assert scaled.scalars() == rates | scales
    scaled.model.discriminator_optimizer.dynamic_scale.assign(4.0)
    assert scaled.scalars() == rates | scales | {"loss_scale/discriminator": 4.0}


def test_class_frequencies_are_shown(task, data_dir):
    frequencies = PreparedDataset.load(data_dir).class_frequency
    facts = task.facts()
    assert list(facts.values()) == list(frequencies) and len(facts) == 12
    assert all(name.startswith("class_frequency/") for name in facts)


def test_workers_may_have_the_data_elsewhere(straight, changed):
    config = straight[0]
    elsewhere = dataclasses.replace(config.data, data_dir="/elsewhere")
    assert dataclasses.replace(config, data=elsewhere).shared_json() == config.shared_json()
    assert changed(config, seed=1).shared_json() != config.shared_json()


# === Evaluation ===


@pytest.fixture(scope="module")
def evaluated(straight, train, changed, tmp_path_factory):
    """(configuration, directory, what was printed) of the same six steps, evaluated twice."""
    path = tmp_path_factory.mktemp("evaluated")
    config = changed(straight[0], eval_every=3, eval_metrics="fid,segmentation")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        train(config, path)
    return config, path, printed.getvalue()


def evaluations(path):
    return {row["step"]: row["evaluation"] for row in metrics(path) if "evaluation" in row}


def test_evaluating_does_not_change_training(straight, evaluated):
    path = evaluated[1]
    assert [row for row in metrics(path) if "evaluation" not in row] == metrics(straight[1])
    assert_same_arrays(path, straight[1], 6)


def test_an_evaluation_leaves_all_that_is_promised(evaluated):
    _, path, printed = evaluated
    found = evaluations(path)
    assert list(found) == [3, 6]
    for step, values in found.items():
        assert list(values)[:2] == ["fid_seeded64", "segmentation/miou"] and len(values) > 15
        contents = evaluation_file.read(evaluation_file.default_path(str(path), step))
        assert contents["step"] == step
        assert contents["metrics"] == pytest.approx(
            {k: math.nan if v is None else v for k, v in values.items()}, nan_ok=True
        )
        (line,) = re.findall(rf"evaluated step {step} in \d+\.\d s: .*", printed)
        assert f"fid_seeded64 {values['fid_seeded64']:.4g} segmentation/miou" in line
        assert "/iou/" not in line
    assert found[3]["fid_seeded64"] != found[6]["fid_seeded64"]


def test_the_evaluate_command_finds_the_same(evaluated, tmp_path):
    config, path, _ = evaluated
    names = ["fid", "segmentation"]
    contents = evaluation.evaluate_model(
        str(path), None, names, config.evaluation, checkpoint=3, json_path=tmp_path / "report.json"
    )
    want = {k: math.nan if v is None else v for k, v in evaluations(path)[3].items()}
    assert contents["metrics"] == pytest.approx(want, rel=1e-6, nan_ok=True)


def test_what_cannot_be_measured_is_found_before_the_first_step(
    straight, train, task, changed, tmp_path, monkeypatch
):
    def refuse(context, names):
        raise ValueError(f"{', '.join(names)} need larger images.")

    monkeypatch.setattr(evaluation, "make_evaluators", refuse)
    stop_at(monkeypatch, task, 1, lambda logs: pytest.fail("a step"))
    with pytest.raises(ValueError, match="fid, kid need larger images"):
        train(changed(straight[0], eval_every=2, eval_metrics="fid,kid"), tmp_path)

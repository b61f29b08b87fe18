"""The loop: a run that is stopped and repeated is the run that never stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf import OASIS
from oasis_tf.training import loop
from oasis_tf.training.checkpoints import CheckpointStore

LINES = 2  # log_every


@pytest.fixture(scope="module")
def train(shared_task):
    """`loop.train` on the shared, compiled task."""

    def run(config, model_dir):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "OASISTask", shared_task)
            loop.train(config, str(model_dir))

    return run


@pytest.fixture(scope="module")
def straight(train, make_config, tmp_path_factory):
    """(configuration, directory) of six steps in one go."""
    path = tmp_path_factory.mktemp("straight")
    config = make_config(log_every=LINES, checkpoint_every=6, image_every=6)
    train(config, path)
    return config, path


def metrics(path):
    with open(path / "metrics.jsonl") as file:
        return [json.loads(line) for line in file]


def stop_at(monkeypatch, shared_task, make_config, step, act):
    """Has `act(logs)` called after a step; what it returns takes the place of the step's logs."""
    task = shared_task(make_config(), None)
    train_step = task.train_step

    def wrapped(batch):
        logs = train_step(batch)
        done = int(task.model.step.numpy())
        return act(logs) if done == step else logs

    monkeypatch.setattr(task, "train_step", wrapped)


def assert_same_run(got, want, steps):
    """Same metrics and bit for bit the same last checkpoint."""
    assert metrics(got) == metrics(want)
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_repeated_command_goes_on(
    straight, train, shared_task, make_config, changed, tmp_path, monkeypatch, capsys, number
):
    """Stopped at step 3, in the middle of a line of metrics; saved more often besides."""
    config = changed(straight[0], checkpoint_every=2)
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        kill = lambda logs: os.kill(os.getpid(), number) or logs  # noqa: E731
        stop_at(patch, shared_task, make_config, 3, kill)
        with pytest.raises(SystemExit) as stopped:
            train(config, tmp_path)
    assert stopped.value.code == 128 + number
    name = signal.Signals(number).name
    assert f"Stopped by {name} after step 3, saved" in capsys.readouterr().err
    assert CheckpointStore(str(tmp_path)).steps() == [2, 3]
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert [row["step"] for row in metrics(tmp_path)] == [2]
    train(config, tmp_path)
    assert "Continuing from step 3" in capsys.readouterr().out
    assert_same_run(tmp_path, straight[1], 6)


def test_a_killed_run_repeats_the_steps_since_its_checkpoint(
    straight, train, shared_task, make_config, changed, tmp_path, monkeypatch
):
    """No chance to save at step 5: the lines behind the last checkpoint are written again."""
    config = changed(straight[0], checkpoint_every=3)

    def die(logs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        stop_at(patch, shared_task, make_config, 5, die)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path)
    assert [row["step"] for row in metrics(tmp_path)] == [2, 4]
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "lo')  # cut off in the middle
    train(config, tmp_path)
    assert_same_run(tmp_path, straight[1], 6)


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(
    straight, train, changed, tmp_path, caplog
):
    config = changed(straight[0], checkpoint_every=1)
    train(changed(config, steps=4), tmp_path)
    store = CheckpointStore(str(tmp_path))
    with open(os.path.join(store.path(4), "training.npz"), "r+b") as file:
        file.truncate(1000)
    train(config, tmp_path)
    assert "step_00000004 is damaged" in caplog.text
    assert_same_run(tmp_path, straight[1], 6)


def test_a_finished_run_has_nothing_to_do(straight, train, capsys):
    before = {name: os.path.getmtime(straight[1] / name) for name in ("checkpoints", "samples")}
    train(*straight)
    assert "Nothing to do: step 6 of 6 is reached" in capsys.readouterr().out
    for name, modified in before.items():
        assert os.path.getmtime(straight[1] / name) == modified


def test_a_loss_that_is_not_finite_stops_the_run(
    straight, train, shared_task, make_config, changed, tmp_path, monkeypatch
):
    broken = {"loss_g": tf.constant(np.nan)}
    stop_at(monkeypatch, shared_task, make_config, 4, lambda logs: logs | broken)
    message = "loss_g stopped being finite between steps 3 and 4. The checkpoint of step 2"
    with pytest.raises(FloatingPointError, match=message):
        train(changed(straight[0], checkpoint_every=2), tmp_path)
    assert CheckpointStore(str(tmp_path)).steps() == [2]
    assert [row["step"] for row in metrics(tmp_path)] == [2]


def test_a_checkpoint_of_another_model_is_refused(straight, train, tmp_path):
    CheckpointStore(str(tmp_path)).save(1, {"step": np.int64(1)}, {})
    with pytest.raises(ValueError, match="does not fit this model: generator/.* is missing"):
        train(straight[0], tmp_path)


def test_batches_must_divide_by_the_devices(make_config, tmp_path, monkeypatch):
    class Three:
        num_replicas_in_sync = 3

    monkeypatch.setattr(loop, "make_strategy", lambda name: Three())
    with pytest.raises(ValueError, match="divide by the number of devices, 3. .*=2. .*: 3"):
        loop.train(make_config(), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_killed_processes_lose_nothing(data_dir, tmp_path):
    """The command itself, killed outright and repeated, against one that was left alone."""
    source = str(Path(loop.__file__).resolve().parents[2])
    flags = [f"--data_dir={data_dir}", "--crop_height=64", "--crop_width=64", "--batch_size=2"]
    flags += ["--generator_channels=1", "--discriminator_channels=1", "--spade_channels=4"]
    flags += ["--steps=12", "--log_every=5", "--checkpoint_every=4", "--statistics_batches=2"]

    def start(name):
        return subprocess.Popen(
            [sys.executable, "-m", "oasis_tf.train", *flags, f"--model_dir={tmp_path / name}"],
            env=os.environ | {"PYTHONPATH": source},
        )

    process, store = start("killed"), CheckpointStore(str(tmp_path / "killed"))
    while not store.steps():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert store.steps() != [12]
    assert start("killed").wait() == 0
    assert start("whole").wait() == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole", 12)

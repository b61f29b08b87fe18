"""The loop: a run that is stopped and repeated is the run that never stopped."""

import contextlib
import dataclasses
import errno
import io
import itertools
import json
import math
import os
import re
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from oasis_tf import OASIS
from oasis_tf.io import files
from oasis_tf.metrics import evaluation
from oasis_tf.metrics.reports import evaluation_file
from oasis_tf.systems.oasis.task import OASISTask
from oasis_tf.training import loop
from oasis_tf.training.metrics_file import MetricsFile
from oasis_tf.training.store import CheckpointStore
from oasis_tf.training.strategies import Workers

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
    assert_same_arrays(got, want, steps)


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


def test_a_full_disk_costs_the_steps_since_the_last_checkpoint(
    straight, train, shared_task, make_config, changed, tmp_path, monkeypatch
):
    """No file may grow beyond 20 kB from step 4 on: the weights do not fit."""
    config, limits = changed(straight[0], checkpoint_every=2), resource.RLIMIT_FSIZE

    def fill(logs):
        resource.setrlimit(limits, (20_000, before[1]))
        return logs

    before = resource.getrlimit(limits)
    try:
        with monkeypatch.context() as patch:
            stop_at(patch, shared_task, make_config, 4, fill)
            with pytest.raises(OSError, match="Cannot write .*step_00000004: File too large. Make"):
                train(config, tmp_path)
    finally:
        resource.setrlimit(limits, before)
    assert os.listdir(tmp_path / "checkpoints") == ["step_00000002"]
    train(config, tmp_path)
    assert_same_run(tmp_path, straight[1], 6)


def test_what_cannot_be_written_is_named(
    straight, train, shared_task, make_config, tmp_path, monkeypatch
):
    def obstruct(logs):
        (tmp_path / "metrics.jsonl").mkdir()
        return logs

    stop_at(monkeypatch, shared_task, make_config, 2, obstruct)
    with pytest.raises(OSError, match="into .*: Is a directory. Make room .* from step 0"):
        train(straight[0], tmp_path)


@pytest.mark.parametrize(("log_every", "saved"), [(2, [2]), (6, [3])])
def test_a_loss_that_is_not_finite_stops_the_run(
    straight, train, shared_task, make_config, changed, tmp_path, monkeypatch, log_every, saved
):
    """Found at step 4 itself, or two steps later; the batch that is kept is that of step 4."""
    task, batches = shared_task(make_config(), None), []
    break_step = {"loss_g": tf.constant(np.nan), "loss_d": tf.constant(np.inf)}
    stop_at(monkeypatch, shared_task, make_config, 4, lambda logs: logs | break_step)
    train_step = task.train_step
    monkeypatch.setattr(
        task, "train_step", lambda batch: batches.append(batch) or train_step(batch)
    )
    config = changed(straight[0], log_every=log_every, checkpoint_every=saved[0])
    message = (
        f"loss_g is nan, loss_d is inf at step 4. Its batch is in .*. Saved: the checkpoint of "
        f"step {saved[0]} is as it was. .* another --model_dir"
    )
    with pytest.raises(FloatingPointError, match=message) as caught:
        train(config, tmp_path)
    assert CheckpointStore(str(tmp_path)).steps() == saved
    assert (tmp_path / "metrics.jsonl").exists() == (log_every == 2)
    kept = tmp_path / "nonfinite" / "step_00000004.npz"
    assert str(kept) in str(caught.value)
    with np.load(kept) as arrays:
        np.testing.assert_array_equal(arrays["image"], batches[3][0])
        np.testing.assert_array_equal(arrays["label_map"], batches[3][1])
        assert arrays["step"] == 4 and np.isnan(arrays["loss_g"]) and arrays["loss_d"] == np.inf
        assert np.isfinite(arrays["loss_d_real"])


def test_weights_that_are_not_finite_are_not_saved(
    straight, train, shared_task, make_config, changed, tmp_path, monkeypatch
):
    """And a batch that cannot be kept either does not hide why."""
    bias = shared_task(make_config(), None).model.generator.to_rgb.bias

    def full_disk(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    def spoil(logs):
        bias.assign(np.full(3, np.nan))
        monkeypatch.setattr(files, "written_aside", full_disk)
        return logs

    stop_at(monkeypatch, shared_task, make_config, 2, spoil)
    message = (
        r"not finite: generator/to_rgb/bias \(1 in all\) at step 2. .*not be written .*No space"
    )
    with pytest.raises(FloatingPointError, match=message + ".*Saved: none yet"):
        train(changed(straight[0], checkpoint_every=2), tmp_path)
    assert CheckpointStore(str(tmp_path)).steps() == []


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


def test_damaged_records_stop_a_run_unless_they_are_left_out(
    straight, train, shared_task, make_config, data_dir, tmp_path, monkeypatch
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
    task = shared_task(make_config(), None)
    monkeypatch.setattr(task, "batches", tasks[0].batches)
    with pytest.raises(ValueError, match="^Damaged record: .*train-.* --skip_corrupt.$"):
        train(straight[0], tmp_path / "model")
    assert next(iter(tasks[1].batches(0)))[0].shape == (2, 32, 32, 3)
    assert tasks[1].global_batch(1)["label_map"].shape == (2, 32, 32)
    assert tasks[1]._preview_scenes()[0].shape == (1, 32, 32, 3)


def test_what_the_task_shows_is_written_with_every_line(
    straight, train, shared_task, make_config, tmp_path, monkeypatch
):
    task, calls = shared_task(make_config(), None), itertools.count(1)
    monkeypatch.setattr(task, "scalars", lambda: {"loss_scale/generator": 2.0 ** next(calls)})
    train(straight[0], tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"), {"tensors": 0}).Reload()
    found = [
        (event.step, float(tf.make_ndarray(event.tensor_proto)))
        for event in events.Tensors("loss_scale/generator")
    ]
    assert found == [(2, 2.0), (4, 4.0), (6, 8.0)]


def test_the_loss_scale_is_shown_where_there_is_one(make_config, shared_task):
    rates = {"learning_rate/generator": 1e-4, "learning_rate/discriminator": 4e-4}
    assert shared_task(make_config(), None).scalars() == rates
    task = OASISTask(make_config(mixed_precision="float16"), tf.distribute.get_strategy())
    scales = {"loss_scale/generator": 2.0**15, "loss_scale/discriminator": 2.0**15}
    assert task.scalars() == rates | scales
    task.model.discriminator_optimizer.dynamic_scale.assign(4.0)
    assert task.scalars() == rates | scales | {"loss_scale/discriminator": 4.0}


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
    assert CheckpointStore(str(path)).steps() == [3, 6]
    assert [row for row in metrics(path) if "evaluation" not in row] == metrics(straight[1])
    assert_same_arrays(path, straight[1], 6)


def test_an_evaluation_leaves_all_that_is_promised(evaluated):
    _, path, printed = evaluated
    found = evaluations(path)
    assert [row["step"] for row in metrics(path)] == [2, 3, 4, 6, 6]
    assert list(found) == [3, 6] and "evaluation" in metrics(path)[-1]
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
    events = EventAccumulator(str(path / "tensorboard"), {"tensors": 0}).Reload()
    for name, value in found[6].items():
        shown = events.Tensors(f"evaluation/{name}")
        assert [event.step for event in shown] == [3, 6]
        got = float(tf.make_ndarray(shown[1].tensor_proto))
        assert got == pytest.approx(math.nan if value is None else value, nan_ok=True, rel=1e-6)
    seconds = [tf.make_ndarray(e.tensor_proto) for e in events.Tensors("speed/evaluation_seconds")]
    assert len(seconds) == 2 and min(seconds) > 0


def test_the_evaluate_command_finds_the_same(evaluated, tmp_path):
    config, path, _ = evaluated
    names = ["fid", "segmentation"]
    contents = evaluation.evaluate_model(
        str(path), None, names, config.evaluation, checkpoint=3, json_path=tmp_path / "report.json"
    )
    want = {k: math.nan if v is None else v for k, v in evaluations(path)[3].items()}
    assert contents["metrics"] == pytest.approx(want, rel=1e-6, nan_ok=True)


@pytest.mark.slow
def test_a_run_killed_anywhere_around_an_evaluation_ends_as_if_undisturbed(
    evaluated, train, shared_task, make_config, tmp_path, monkeypatch, capsys
):
    """Before the line, between line and checkpoint, told to stop while evaluating, after it."""
    config = evaluated[0]

    def killed(*_):
        raise KeyboardInterrupt

    stages = [
        (MetricsFile, "append_evaluation", killed, [2]),
        (CheckpointStore, "save", killed, [2, 3]),
    ]
    for owner, name, act, lines in stages:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, act)
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path)
        assert CheckpointStore(str(tmp_path)).steps() == []
        assert [row["step"] for row in metrics(tmp_path)] == lines
    append = MetricsFile.append_evaluation

    def told_to_stop(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        append(*args)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsFile, "append_evaluation", told_to_stop)
        with pytest.raises(SystemExit):
            train(config, tmp_path)
    assert "Stopped by SIGTERM after step 3, saved" in capsys.readouterr().err
    assert CheckpointStore(str(tmp_path)).steps() == [3]
    with monkeypatch.context() as patch:
        stop_at(patch, shared_task, make_config, 5, killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path)
    train(config, tmp_path)
    for step in (3, 6):
        assert_same_run(tmp_path, evaluated[1], step)


@pytest.fixture
def scripted(shared_task, make_config, monkeypatch):
    """function(step -> values): what evaluations find, instead of measuring."""

    def script(found):
        task = shared_task(make_config(), None)
        monkeypatch.setattr(task, "prepare_measuring", lambda *_: None)
        monkeypatch.setattr(task, "measure", found)

    return script


def test_the_best_checkpoint_is_kept(straight, train, changed, scripted, tmp_path):
    """By another value than the first, of which step 1 has the best; NaN is never best."""
    scores = {1: 0.3, 2: 0.5, 3: math.nan, 4: 0.4}
    scripted(lambda step: {"fid_x": float(step), "alignment_x/miou": scores[step]})
    settings = {"eval_every": 1, "max_to_keep": 1, "steps": 4, "eval_metrics": "fid,alignment"}
    train(changed(straight[0], best_metric="alignment_x/miou", **settings), tmp_path)
    assert CheckpointStore(str(tmp_path)).steps() == [2, 4]
    assert evaluations(tmp_path)[3] == {"fid_x": 3.0, "alignment_x/miou": None}
    assert int(OASIS.load(str(tmp_path), checkpoint="best").step.numpy()) == 2


@pytest.mark.slow
def test_a_best_metric_of_another_network_costs_nothing(
    straight, train, changed, scripted, tmp_path
):
    scripted(lambda step: {"fid_seeded64": 8.0 - step, "kid_seeded64": 1.0})
    right = changed(straight[0], eval_every=2, max_to_keep=1, best_metric="fid_seeded64", steps=4)
    message = (
        "one of the values .* best_metric=fid_inception2015; values: fid_seeded64, kid_seeded64. "
        ".* continues from step 2"
    )
    with pytest.raises(ValueError, match=message):
        train(changed(right, best_metric="fid_inception2015"), tmp_path)
    assert CheckpointStore(str(tmp_path)).steps() == [2]
    train(right, tmp_path)
    assert [row["step"] for row in metrics(tmp_path)] == [2, 2, 4, 4]
    assert CheckpointStore(str(tmp_path)).steps() == [4]


def test_what_cannot_be_measured_is_found_before_the_first_step(
    straight, train, shared_task, make_config, changed, tmp_path, monkeypatch
):
    def refuse(context, names):
        raise ValueError(f"{', '.join(names)} need larger images.")

    monkeypatch.setattr(evaluation, "make_evaluators", refuse)
    stop_at(monkeypatch, shared_task, make_config, 1, lambda logs: pytest.fail("a step"))
    with pytest.raises(ValueError, match="fid, kid need larger images"):
        train(changed(straight[0], eval_every=2, eval_metrics="fid,kid"), tmp_path)


def test_weights_that_are_not_finite_are_not_evaluated(
    straight, train, shared_task, make_config, changed, scripted, tmp_path, monkeypatch
):
    scripted(lambda step: pytest.fail("evaluated"))
    bias = shared_task(make_config(), None).model.generator.to_rgb.bias
    spoil = lambda logs: bias.assign(np.full(3, np.nan)) is None or logs  # noqa: E731
    stop_at(monkeypatch, shared_task, make_config, 1, spoil)
    with pytest.raises(FloatingPointError, match="not finite: generator/to_rgb/bias .* step 1"):
        train(changed(straight[0], eval_every=1), tmp_path)
    assert (tmp_path / "nonfinite" / "step_00000001.npz").exists()


def test_an_evaluation_that_cannot_be_written_is_named(
    straight, train, changed, scripted, tmp_path, monkeypatch
):
    """A full disk: half of the line is there. The repeated command writes all of it."""
    scripted(lambda step: {"fid_seeded64": 8.0 - step})
    config = changed(straight[0], eval_every=1, steps=2)
    append = MetricsFile.append

    def full(file, line):
        if "evaluation" not in line or line["step"] == 1:
            return append(file, line)
        with open(file.path, "a") as opened:
            opened.write(json.dumps(line)[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(MetricsFile, "append", full)
        message = "^Cannot write into .*: No space left .* Make room .* continues from step 1"
        with pytest.raises(OSError, match=message):
            train(config, tmp_path)
    train(config, tmp_path)
    assert evaluations(tmp_path) == {1: {"fid_seeded64": 7.0}, 2: {"fid_seeded64": 6.0}}
    assert [row["step"] for row in metrics(tmp_path)] == [1, 2, 2]


# === Several workers ===


@pytest.fixture
def second_worker(monkeypatch):
    """function(*answers): a second worker is there and gives these answers, then those of ours.

    Returns the list of what the run tells the second worker.
    """

    def join(*answers):
        told, answers = [], iter(answers)

        class Two(Workers):
            def __init__(self, strategy):
                super().__init__(strategy)
                self.count = 2

            def ask(self, number):
                told.append(number)
                return tf.constant([number, next(answers, number)], tf.int64)

        monkeypatch.setattr(loop, "Workers", Two)
        return told

    return join


def test_workers_with_other_settings_are_refused(straight, train, second_worker, tmp_path):
    second_worker(1)
    with pytest.raises(ValueError, match="same flags .* other settings on worker 1 than on"):
        train(straight[0], tmp_path)
    assert os.listdir(tmp_path) == []


def test_workers_may_have_the_data_elsewhere(straight, second_worker):
    config, told = straight[0], second_worker()
    elsewhere = dataclasses.replace(config.data, data_dir="/elsewhere")
    workers = loop.Workers(tf.distribute.get_strategy())
    loop._check_same_settings(config, workers)
    loop._check_same_settings(dataclasses.replace(config, data=elsewhere), workers)
    assert told[0] == told[1] != 0


def test_workers_must_find_the_same_checkpoint(
    straight, train, changed, second_worker, tmp_path, monkeypatch
):
    train(changed(straight[0], steps=4), tmp_path)
    monkeypatch.setattr(loop, "_check_same_settings", lambda *_: None)
    second_worker(0)
    with pytest.raises(ValueError, match="worker 0: 4, worker 1: none. Give .* one --model_dir"):
        train(straight[0], tmp_path)


def test_a_worker_lost_during_an_evaluation_is_explained(
    straight, train, changed, second_worker, scripted, tmp_path
):
    def lost(step):
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted by: task 1 is gone")

    scripted(lost)
    second_worker()
    message = (
        "Another worker no longer answers: .* begin again, nothing is saved. .* task 1 is gone"
    )
    with pytest.raises(ConnectionError, match=message):
        train(changed(straight[0], eval_every=1), tmp_path)


def test_another_worker_than_the_chief_writes_nothing(
    straight, train, changed, second_worker, scripted, tmp_path, monkeypatch
):
    """It takes part in evaluations, which give it no values."""
    steps = []
    scripted(lambda step: steps.append(step) or {})
    second_worker()
    workers = loop.Workers
    monkeypatch.setattr(loop, "Workers", lambda strategy: as_second(workers(strategy)))
    train(changed(straight[0], eval_every=1, steps=2, best_metric="fid_x"), tmp_path)
    assert steps == [1, 2] and os.listdir(tmp_path) == []


def as_second(workers):
    workers.index, workers.chief = 1, False
    return workers


def test_a_signal_on_another_worker_stops_this_one(
    straight, train, second_worker, tmp_path, monkeypatch, capsys
):
    """It comes during step 2; this worker learns of it after step 3."""
    monkeypatch.setattr(loop, "_check_same_settings", lambda *_: None)
    same_step, silent = 0, 0
    second_worker(same_step, silent, signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        train(straight[0], tmp_path)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert type(stopped.value.code) is int  # of another integer, Python makes status 1
    assert "Stopped by SIGTERM after step 3, saved" in capsys.readouterr().err
    assert CheckpointStore(str(tmp_path)).steps() == [3]

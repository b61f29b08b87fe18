"""The loop: a run that is stopped and repeated is the run that never stopped."""

import contextlib
import csv
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

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from oasis_tf.io import files, json_files
from oasis_tf.training import loop
from oasis_tf.training.directory_lock import DirectoryLock
from oasis_tf.training.metrics_file import MetricsFile
from oasis_tf.training.store import CheckpointStore
from oasis_tf.training.strategies import Workers
from oasis_tf.training.task import Task
from oasis_tf.training.writer import events_folder
from tests.training.toy import LAZY, ToyConfig, ToyTask

LINES = 2  # log_every
KERNEL = "line/dense/kernel"


def train(config, model_dir, make_task=ToyTask):
    loop.train(config, str(model_dir), make_task)


@pytest.fixture(scope="module")
def straight(make_config, tmp_path_factory):
    """(configuration, directory) of six steps in one go."""
    path = tmp_path_factory.mktemp("straight")
    config = make_config(log_every=LINES, checkpoint_every=6, image_every=6)
    train(config, path)
    return config, path


def metrics(path):
    """The lines, without their digests."""
    with open(path / "metrics.jsonl") as file:
        return [json_files.loads(line) for line in file]


def acting(step, act):
    """A task that calls `act(task, logs)` after a step and takes what it returns for the logs."""

    class Acting(ToyTask):
        def train_step(self, batch):
            logs = super().train_step(batch)
            return act(self, logs) if int(self.line.optimizer.iterations.numpy()) == step else logs

    return Acting


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
    assert os.listdir(path / "samples") == ["line_00000006.png"]
    store = CheckpointStore(str(path))
    assert store.steps() == [6] and list(store.read(6, "inference")) == ["slope"]
    assert ToyConfig.load(path) == config


class Bare(Task):
    """The toy as a task that has what it must have, and no more."""

    def __init__(self, config, strategy):
        self._toy = ToyTask(config, strategy)

    def batches(self, start_step):
        return self._toy.batches(start_step)

    def train_step(self, batch):
        return self._toy.train_step(batch)

    def variables(self):
        return self._toy.variables()


def test_a_run_writes_nothing_that_its_task_lacks(make_config, tmp_path):
    train(make_config(log_every=1, image_every=1, steps=1), tmp_path, Bare)
    assert not (tmp_path / "samples").exists()
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert sorted(os.listdir(checkpoint)) == ["manifest.json", "training.npz"]
    events = EventAccumulator(events_folder(str(tmp_path)), {"tensors": 0}).Reload()
    assert set(events.Tags()["tensors"]) == {"configuration", "loss"}  # one step has no speed
    train(make_config(steps=2), tmp_path, Bare)  # found and continued all the same
    assert CheckpointStore(str(tmp_path)).steps() == [1, 2]
    with pytest.raises(ValueError, match="system that measures its model .* Leave --eval_every"):
        train(make_config(steps=3, eval_every=1), tmp_path, Bare)


def starting(weight, calls):
    """A task whose runs start from a weight of elsewhere."""

    class Starting(ToyTask):
        def start(self):
            calls.append(weight)
            arrays = {name: v.numpy() for name, v in self.variables().items()}
            return arrays | {KERNEL: np.full_like(arrays[KERNEL], weight)}, {"slope": np.ones(2)}

    return Starting


def test_a_run_that_starts_from_other_weights_keeps_them_first(straight, changed, tmp_path):
    """What it began with lies in checkpoint 0, so that continuing asks for nothing else."""
    config, calls = changed(straight[0], checkpoint_every=6), []
    train(changed(config, steps=0), tmp_path, starting(5.0, calls))
    first = CheckpointStore(str(tmp_path)).read(0, "training")
    assert (first[KERNEL] == 5).all() and calls == [5.0]
    train(config, tmp_path, starting(None, calls))
    train(config, tmp_path / "straight", starting(5.0, calls))
    assert calls == [5.0, 5.0]
    assert_same_run(tmp_path, tmp_path / "straight", 6)
    assert metrics(tmp_path) != metrics(straight[1])


def test_another_worker_starts_from_what_the_chief_has_written(
    straight, changed, second_worker, tmp_path, monkeypatch
):
    config, calls, chief = changed(straight[0], steps=0), [], str(tmp_path / "chief")
    train(config, chief, starting(6.0, []))
    second_worker()
    workers = loop.Workers

    def joined(strategy):
        one = as_second(workers(strategy))
        gather = one.gather
        of_chief = lambda: calls and not tmp_path.joinpath("run").exists()  # noqa: E731
        write = lambda: of_chief() and shutil.copytree(chief, tmp_path / "run")  # noqa: E731
        one.gather = lambda number=0: (write(), gather(number))[1]
        return one

    monkeypatch.setattr(loop, "Workers", joined)
    tasks, make = [], starting(5.0, calls)
    train(config, tmp_path / "run", lambda *of: tasks.append(make(*of)) or tasks[0])
    assert (tasks[0].variables()[KERNEL].numpy() == 6).all()


# === Stopped and repeated ===


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_repeated_command_goes_on(
    straight, changed, tmp_path, capsys, number
):
    """Stopped at step 3, in the middle of a line of metrics; saved more often besides."""
    config = changed(straight[0], checkpoint_every=2)
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    stopping = acting(3, lambda task, logs: os.kill(os.getpid(), number) or logs)
    with pytest.raises(SystemExit) as stopped:
        train(config, tmp_path, stopping)
    assert stopped.value.code == 128 + number
    name = signal.Signals(number).name
    assert f"Stopped by {name} after step 3, saved" in capsys.readouterr().err
    assert CheckpointStore(str(tmp_path)).steps() == [2, 3]
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert [row["step"] for row in metrics(tmp_path)] == [2]
    train(config, tmp_path)
    assert "Continuing from step 3" in capsys.readouterr().out
    assert_same_run(tmp_path, straight[1], 6)


def die(*_):
    raise KeyboardInterrupt


def test_a_killed_run_repeats_the_steps_since_its_checkpoint(straight, changed, tmp_path):
    """No chance to save at step 5: the lines after the last checkpoint are written again."""
    config = changed(straight[0], checkpoint_every=3)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, acting(5, die))
    assert [row["step"] for row in metrics(tmp_path)] == [2, 4]
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "lo')  # cut off in the middle
    train(config, tmp_path)
    assert_same_run(tmp_path, straight[1], 6)


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(straight, changed, tmp_path, caplog):
    config = changed(straight[0], checkpoint_every=1)
    train(changed(config, steps=4), tmp_path)
    store = CheckpointStore(str(tmp_path))
    with open(os.path.join(store.path(4), "training.npz"), "r+b") as file:
        file.truncate(1000)
    train(config, tmp_path)
    assert "step_00000004 is damaged" in caplog.text
    assert_same_run(tmp_path, straight[1], 6)


def test_without_a_whole_checkpoint_nothing_is_trained_or_dropped(straight, changed, tmp_path):
    config = changed(straight[0], checkpoint_every=2, steps=4)
    train(config, tmp_path)
    store = CheckpointStore(str(tmp_path))
    for step in (2, 4):
        with open(os.path.join(store.path(step), "training.npz"), "r+b") as file:
            file.truncate(1000)
    lines = metrics(tmp_path)
    with pytest.raises(ValueError, match="is whole. .*step_00000004 .*step_00000002 .* Restore"):
        train(changed(config, steps=6), tmp_path)
    assert store.steps() == [2, 4] and metrics(tmp_path) == lines


def test_a_directory_that_is_being_trained_is_refused(straight, changed, tmp_path):
    """Whether it was there before or not: before anything is written, and the model made."""
    train(changed(straight[0], steps=2), tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with DirectoryLock(str(tmp_path)) as lock:
        lock.take()
        with pytest.raises(ValueError, match="is being trained by process"):
            train(straight[0], tmp_path, lambda *_: pytest.fail("made"))
    assert (tmp_path / "config.json").read_bytes() == before

    def meanwhile(config, strategy):
        lock.__enter__().take()
        return ToyTask(config, strategy)

    with DirectoryLock(str(tmp_path / "new")) as lock:
        with pytest.raises(ValueError, match="is being trained by process"):
            train(straight[0], tmp_path / "new", meanwhile)
        assert os.listdir(tmp_path / "new") == [".training.lock"]


def test_a_finished_run_has_nothing_to_do(straight, capsys):
    before = {name: os.path.getmtime(straight[1] / name) for name in ("checkpoints", "samples")}
    train(*straight)
    assert "Nothing to do: step 6 of 6 is reached" in capsys.readouterr().out
    for name, modified in before.items():
        assert os.path.getmtime(straight[1] / name) == modified


# === Metrics that not every step has ===


@pytest.fixture(scope="module")
def by_step(make_config, tmp_path_factory):
    """The line of every step of seven."""
    path = tmp_path_factory.mktemp("by_step")
    train(make_config(log_every=1, steps=7), path)
    return metrics(path)


def test_a_metric_is_written_for_the_steps_that_have_it(by_step):
    for row in by_step:
        assert set(row) == {"step", "loss"} | ({"penalty"} if row["step"] % LAZY == 0 else set())


@pytest.mark.parametrize("stops", [[], [2], [4], [2, 4, 5]])
def test_a_line_has_the_mean_over_the_steps_that_have_the_metric(
    by_step, make_config, changed, tmp_path, stops
):
    """Also where the run was stopped in between, with and without such steps before it."""
    config = make_config(log_every=7)
    for step in [*stops, 7]:
        train(changed(config, steps=step), tmp_path)
    (line,) = metrics(tmp_path)
    assert line["loss"] == pytest.approx(np.mean([row["loss"] for row in by_step]), rel=1e-12)
    penalties = [row["penalty"] for row in by_step if "penalty" in row]
    assert len(penalties) == 2
    assert line["penalty"] == pytest.approx(np.mean(penalties), rel=1e-12)
    whole = tmp_path / "whole"
    train(changed(config, steps=7), whole)
    assert (tmp_path / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()


# === What goes wrong ===


def test_a_full_disk_costs_the_steps_since_the_last_checkpoint(straight, changed, tmp_path):
    """No file may grow beyond 2 kB from step 4 on: the weights do not fit."""
    config, limits = changed(straight[0], checkpoint_every=2), resource.RLIMIT_FSIZE

    def fill(task, logs):
        resource.setrlimit(limits, (2_000, before[1]))
        return logs

    before = resource.getrlimit(limits)
    try:
        with pytest.raises(OSError, match="Cannot write .*step_00000004: File too large. Make"):
            train(config, tmp_path, acting(4, fill))
    finally:
        resource.setrlimit(limits, before)
    assert os.listdir(tmp_path / "checkpoints") == ["step_00000002"]
    train(config, tmp_path)
    assert_same_run(tmp_path, straight[1], 6)


def test_what_cannot_be_written_is_named(straight, tmp_path):
    def obstruct(task, logs):
        (tmp_path / "metrics.jsonl").mkdir()
        return logs

    with pytest.raises(OSError, match="into .*: Is a directory. Make room .* from step 0"):
        train(straight[0], tmp_path, acting(2, obstruct))


@pytest.mark.parametrize(("log_every", "saved"), [(2, [2]), (6, [3])])
def test_a_loss_that_is_not_finite_stops_the_run(straight, changed, tmp_path, log_every, saved):
    """Found at step 4 itself, or two steps later; the batch that is kept is that of step 4."""
    batches = []

    class Diverging(acting(4, lambda task, logs: logs | {"loss": np.nan, "more": np.inf})):
        divergence_advice = "with care"

        def train_step(self, batch):
            batches.append(batch)
            return super().train_step(batch)

    config = changed(straight[0], log_every=log_every, checkpoint_every=saved[0])
    message = (
        f"loss is nan, more is inf at step 4. Its batch is in .*. Saved: the checkpoint of "
        f"step {saved[0]} is as it was. .* another --model_dir with care."
    )
    with pytest.raises(FloatingPointError, match=message) as caught:
        train(config, tmp_path, Diverging)
    assert CheckpointStore(str(tmp_path)).steps() == saved
    assert (tmp_path / "metrics.jsonl").exists() == (log_every == 2)
    kept = tmp_path / "nonfinite" / "step_00000004.npz"
    assert str(kept) in str(caught.value)
    with np.load(kept) as arrays:
        assert set(arrays) == {"numbers", "step", "loss", "more"}
        np.testing.assert_array_equal(arrays["numbers"], batches[3])
        assert arrays["step"] == 4 and np.isnan(arrays["loss"]) and arrays["more"] == np.inf


def test_a_task_that_cannot_draw_its_batch_again_keeps_none(straight, tmp_path):
    class Diverging(acting(1, lambda task, logs: logs | {"loss": np.nan})):
        global_batch = Task.global_batch

    message = "^loss is nan at step 1. Saved: none yet.* another --model_dir with lower learning"
    with pytest.raises(FloatingPointError, match=message):
        train(straight[0], tmp_path, Diverging)
    assert not (tmp_path / "nonfinite").exists()


def spoil(task, logs):
    task.line.model.layers[0].bias.assign([np.nan])
    return logs


def test_weights_that_are_not_finite_are_not_saved(straight, changed, tmp_path, monkeypatch):
    """And a batch that cannot be kept either does not hide why."""

    def full_disk(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    def spoil_and_fill(task, logs):
        monkeypatch.setattr(files, "written_aside", full_disk)
        return spoil(task, logs)

    message = (
        r"not finite: line/dense/bias \(1 in all\) at step 2. .*not be written .*No space"
        ".*Saved: none yet"
    )
    with pytest.raises(FloatingPointError, match=message):
        train(changed(straight[0], checkpoint_every=2), tmp_path, acting(2, spoil_and_fill))
    assert CheckpointStore(str(tmp_path)).steps() == []


def test_a_checkpoint_of_another_model_is_refused(straight, tmp_path):
    CheckpointStore(str(tmp_path)).save(1, {"step": np.int64(1)}, {})
    with pytest.raises(ValueError, match="does not fit this model: line/.* is missing"):
        train(straight[0], tmp_path)


def test_batches_must_divide_by_the_devices(make_config, tmp_path, monkeypatch):
    class Three:
        num_replicas_in_sync = 3

    monkeypatch.setattr(loop, "make_strategy", lambda name, batch_size: Three())
    with pytest.raises(ValueError, match="divide by the number of devices, 3. .*=2. .*: 3"):
        train(make_config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wanted", [False, True])
def test_deterministic_operations_are_asked_for_before_devices_start(
    make_config, tmp_path, monkeypatch, wanted
):
    asked = []
    options = tf.config.experimental
    monkeypatch.setattr(options, "enable_op_determinism", lambda: asked.append("operations"))
    monkeypatch.setattr(loop, "make_strategy", lambda name, batch_size: asked.append("devices"))
    with pytest.raises(AttributeError):  # there are no devices
        train(make_config(deterministic=wanted), tmp_path / "run")
    assert asked == (["operations"] if wanted else []) + ["devices"]


def test_what_the_task_refuses_is_refused_before_anything_is_written(make_config, tmp_path):
    def refuse(config, strategy):
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="^no such thing$"):
        train(make_config(), tmp_path / "run", refuse)
    assert not (tmp_path / "run").exists()


# === What the task shows ===


def shown(path, name):
    """(step, number) of all events of a name."""
    events = EventAccumulator(events_folder(str(path)), {"tensors": 0}).Reload()
    return [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors(name)]


def test_what_the_task_shows_is_written_with_every_line(straight, tmp_path):
    calls = itertools.count(1)

    class Showing(ToyTask):
        def scalars(self):
            return {"loss_scale/line": 2.0 ** next(calls)}

    train(straight[0], tmp_path, Showing)
    assert shown(tmp_path, "loss_scale/line") == [(2, 2.0), (4, 4.0), (6, 8.0)]
    assert shown(tmp_path, "fact/dimensions") == [(0, 2.0)]


def test_speed_is_that_of_steps_alone(straight, changed, tmp_path, monkeypatch, capsys):
    """What is compiled (every third step has another graph), drawn and saved takes 100 s each."""
    now = [0.0]
    monkeypatch.setattr("oasis_tf.training.clock.time.monotonic", lambda: now[0])

    def pass_by(seconds):
        now[0] += seconds

    class Slow(ToyTask):
        def train_step(self, batch):
            logs = super().train_step(batch)
            pass_by(100 if frozenset(logs) not in seen else 2)
            seen.add(frozenset(logs))
            return logs

        def pictures(self, step):
            pass_by(100)
            return super().pictures(step)

        def inference_arrays(self, step):
            pass_by(100)
            return super().inference_arrays(step)

    seen = set()
    train(changed(straight[0], steps=8, image_every=1, checkpoint_every=1), tmp_path, Slow)
    rates = [rate for _, rate in shown(tmp_path, "speed/steps_per_second")]
    assert rates == [0.5] * 4
    printed = capsys.readouterr().out
    for work in ("Compiling the training step (about a minute) …", "Drawing", "Saving"):
        assert printed.count(work) == 1
    assert printed.index("Compiling") < printed.index(
        "step 2/8 0.50 it/s 1.0 images/s ETA 00:00:12"
    )


@pytest.mark.parametrize("stops", [[150], [220]])
def test_a_run_that_has_gone_wrong_says_so_once(make_config, changed, tmp_path, capsys, stops):
    """From step 10 on; also where it is stopped before that is said, and after."""

    class Ill(ToyTask):
        def symptom(self, step, averages):
            assert set(averages) >= {"loss"}
            return "the line is crooked. Straighten it." if step > 10 else None

    config = make_config(log_every=10, image_every=1000, checkpoint_every=1000)
    for step in [*stops, 240]:
        train(changed(config, steps=step), tmp_path, Ill)
    err = capsys.readouterr().err
    assert err.count("crooked") == 1
    assert "WARNING: step 210: the line is crooked. Straighten it.\n" in err


def rows(path):
    with open(path, newline="") as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


def test_a_restarted_run_writes_the_rows_of_one_that_was_not(straight, changed, tmp_path):
    """Rows after the checkpoint are there when it is continued, and come again."""
    config = changed(straight[0], log_to="csv", log_every=1, checkpoint_every=3)
    train(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "killed", acting(6, die))
    train(config, tmp_path / "killed")
    whole, killed = (rows(tmp_path / name / "metrics.csv") for name in ("whole", "killed"))
    assert killed == whole and [step for step, _ in whole] == list("123456")


# === Evaluation ===


@pytest.fixture(scope="module")
def evaluated(straight, changed, tmp_path_factory):
    """(configuration, directory, what was printed) of the same six steps, evaluated twice."""
    path = tmp_path_factory.mktemp("evaluated")
    config = changed(straight[0], eval_every=3)
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
        assert list(values) == ["fid_toy"]
        (line,) = re.findall(rf"evaluated step {step} in \d+\.\d s: .*", printed)
        assert line.endswith(f"fid_toy {values['fid_toy']:.4g}")
    assert found[3]["fid_toy"] != found[6]["fid_toy"]
    got = shown(path, "evaluation/fid_toy")
    assert got == [(k, pytest.approx(values["fid_toy"], rel=1e-6)) for k, values in found.items()]
    seconds = [value for _, value in shown(path, "speed/evaluation_seconds")]
    assert len(seconds) == 2 and min(seconds) > 0


def test_a_run_killed_anywhere_around_an_evaluation_ends_as_if_undisturbed(
    evaluated, tmp_path, monkeypatch, capsys
):
    """Before the line, between line and checkpoint, told to stop while evaluating, after it."""
    config = evaluated[0]
    stages = [
        (MetricsFile, "append_evaluation", [2]),
        (CheckpointStore, "save", [2, 3]),
    ]
    for owner, name, lines in stages:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, die)
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
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, acting(5, die))
    train(config, tmp_path)
    for step in (3, 6):
        assert_same_run(tmp_path, evaluated[1], step)


def scripted(found):
    """Makes a task of which evaluations find `found(step)`, instead of measuring."""

    class Scripted(ToyTask):
        def measure(self, step):
            return found(step)

    return Scripted


def test_the_best_checkpoint_is_kept(straight, changed, tmp_path):
    """By another value than the first, of which step 1 has the best; NaN is never best."""
    scores = {1: 0.3, 2: 0.5, 3: math.nan, 4: 0.4}
    task = scripted(lambda step: {"fid_x": float(step), "alignment_x/miou": scores[step]})
    settings = {"eval_every": 1, "max_to_keep": 1, "steps": 4}
    train(changed(straight[0], best_metric="alignment_x/miou", **settings), tmp_path, task)
    store = CheckpointStore(str(tmp_path))
    assert store.steps() == [2, 4]
    assert evaluations(tmp_path)[3] == {"fid_x": 3.0, "alignment_x/miou": None}
    assert store.load("best", "alignment_x/miou")[0] == 2


def test_a_best_metric_of_another_network_costs_nothing(straight, changed, tmp_path):
    task = scripted(lambda step: {"fid_seeded64": 8.0 - step, "kid_seeded64": 1.0})
    right = changed(straight[0], eval_every=2, max_to_keep=1, best_metric="fid_seeded64", steps=4)
    message = (
        "one of the values .* best_metric=fid_inception2015; values: fid_seeded64, kid_seeded64. "
        ".* continues from step 2"
    )
    with pytest.raises(ValueError, match=message):
        train(changed(right, best_metric="fid_inception2015"), tmp_path, task)
    assert CheckpointStore(str(tmp_path)).steps() == [2]
    train(right, tmp_path, task)
    assert [row["step"] for row in metrics(tmp_path)] == [2, 2, 4, 4]
    assert CheckpointStore(str(tmp_path)).steps() == [4]


def test_what_cannot_be_measured_is_found_before_the_first_step(straight, changed, tmp_path):
    class Refusing(acting(1, lambda *_: pytest.fail("a step"))):
        def prepare_measuring(self, model_dir, workers):
            raise ValueError("needs larger images")

    with pytest.raises(ValueError, match="needs larger images"):
        train(changed(straight[0], eval_every=2), tmp_path, Refusing)


def test_weights_that_are_not_finite_are_not_evaluated(straight, changed, tmp_path):
    class Spoilt(acting(1, spoil)):
        def measure(self, step):
            pytest.fail("evaluated")

    with pytest.raises(FloatingPointError, match="not finite: line/dense/bias .* step 1"):
        train(changed(straight[0], eval_every=1), tmp_path, Spoilt)
    assert (tmp_path / "nonfinite" / "step_00000001.npz").exists()


def test_an_evaluation_that_cannot_be_written_is_named(straight, changed, tmp_path, monkeypatch):
    """A full disk: half of the line is there. The repeated command writes all of it."""
    task = scripted(lambda step: {"fid_seeded64": 8.0 - step})
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
            train(config, tmp_path, task)
    train(config, tmp_path, task)
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


def test_workers_with_other_settings_are_refused(straight, second_worker, tmp_path):
    second_worker(1)
    with pytest.raises(ValueError, match="same flags .* other settings on worker 1 than on"):
        train(straight[0], tmp_path)
    assert os.listdir(tmp_path) == []


def test_workers_compare_what_they_must_share(straight, changed, second_worker, monkeypatch):
    """Settings that differ give other digests; what `shared_json` leaves out does not count."""
    told = second_worker()
    workers = loop.Workers(tf.distribute.get_strategy())
    for config in (straight[0], straight[0], changed(straight[0], seed=1)):
        loop._check_same_settings(config, workers)
    monkeypatch.setattr(ToyConfig, "shared_json", lambda self: {"training": self.training.steps})
    for config in (straight[0], changed(straight[0], seed=1)):
        loop._check_same_settings(config, workers)
    assert told[0] == told[1] != told[2] and told[0] != 0
    assert told[3] == told[4]


def test_workers_must_find_the_same_checkpoint(
    straight, changed, second_worker, tmp_path, monkeypatch
):
    train(changed(straight[0], steps=4), tmp_path)
    monkeypatch.setattr(loop, "_check_same_settings", lambda *_: None)
    second_worker(0)
    with pytest.raises(ValueError, match="worker 0: 4, worker 1: none. Give .* one --model_dir"):
        train(straight[0], tmp_path)


def test_a_worker_lost_during_an_evaluation_is_explained(
    straight, changed, second_worker, tmp_path
):
    def lost(step):
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted by: task 1 is gone")

    second_worker()
    message = (
        "Another worker no longer answers: .* begin again, nothing is saved. .* task 1 is gone"
    )
    with pytest.raises(ConnectionError, match=message):
        train(changed(straight[0], eval_every=1), tmp_path, scripted(lost))


def test_another_worker_than_the_chief_writes_nothing(
    straight, changed, second_worker, tmp_path, monkeypatch
):
    """It takes part in evaluations, which give it no values."""
    steps = []
    second_worker()
    workers = loop.Workers
    monkeypatch.setattr(loop, "Workers", lambda strategy: as_second(workers(strategy)))
    config = changed(straight[0], eval_every=1, steps=2, best_metric="fid_x")
    train(config, tmp_path, scripted(lambda step: steps.append(step) or {}))
    assert steps == [1, 2] and os.listdir(tmp_path) == []


def as_second(workers):
    workers.index, workers.chief = 1, False
    return workers


def test_a_signal_on_another_worker_stops_this_one(
    straight, second_worker, tmp_path, monkeypatch, capsys
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

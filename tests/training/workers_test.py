"""Two workers of the train command on one machine: one writes, and all stop together."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from oasis_tf.metrics import evaluation
from oasis_tf.systems.oasis.config import Config
from oasis_tf.training import loop
from oasis_tf.training.metrics_file import MetricsFile
from oasis_tf.training.store import CheckpointStore

FLAGS = [
    *("--crop_height=32", "--crop_width=32", "--resize_height=36", "--resize_width=36"),
    *("--generator_channels=1", "--discriminator_channels=1", "--spade_channels=4"),
    *("--generator_widths=2,2,1", "--discriminator_widths=2,2", "--noise_channels=4"),
    *("--batch_size=2", "--ema_decay=0.5", "--statistics_batches=1"),
    *("--log_every=5", "--checkpoint_every=10"),
]
EVALUATIONS = ("--eval_every=10", "--eval_metrics=fid,kid,segmentation")
WORKERS = 2


def free_addresses():
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(WORKERS)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for one in sockets:
        one.close()
    return addresses


class Cluster:
    """The processes of one run, each with a model directory (usually the same)."""

    def __init__(self, data_dir, steps, *model_dirs, flags=()):
        source, addresses = str(Path(loop.__file__).resolve().parents[2]), free_addresses()
        self.store = CheckpointStore(str(model_dirs[0]))
        self.processes = []
        for index in range(WORKERS):
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": {"worker": addresses}, "task": task})
            given = [*FLAGS, *flags, f"--data_dir={data_dir}", f"--steps={steps}"]
            given.append(f"--model_dir={model_dirs[index % len(model_dirs)]}")
            process = subprocess.Popen(
                [sys.executable, "-m", "oasis_tf.train", *given],
                env=os.environ | {"PYTHONPATH": source, "TF_CONFIG": config},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            self.processes.append(process)

    def wait_for_a_checkpoint(self):
        before = self.store.steps()
        while self.store.steps() == before:
            assert all(process.poll() is None for process in self.processes)
            time.sleep(0.01)

    def end(self):
        """(exit status, lines on standard error) of every worker, once all have ended."""
        errors = [process.communicate(timeout=300)[1].splitlines() for process in self.processes]
        return list(zip([process.returncode for process in self.processes], errors, strict=True))


def lines_of(errors, start):
    return [line for line in errors if line.startswith(start)]


def steps_written(model_dir):
    with open(model_dir / "metrics.jsonl") as file:
        return [json.loads(line)["step"] for line in file]


def best_step(model_dir):
    steps = CheckpointStore(str(model_dir)).steps()
    return MetricsFile(str(model_dir)).best_step(None, steps)


@pytest.fixture(scope="module")
def stopped(data_dir, tmp_path_factory):
    """(model directory, step) of a run of which one worker was told to stop, the other was not."""
    path = tmp_path_factory.mktemp("stopped")
    cluster = Cluster(data_dir, 10_000, path, flags=EVALUATIONS)
    cluster.wait_for_a_checkpoint()
    cluster.processes[1].send_signal(signal.SIGTERM)
    ends = cluster.end()
    assert [status for status, _ in ends] == [128 + signal.SIGTERM] * 2, ends
    step = cluster.store.steps()[-1]
    line = f"Stopped by SIGTERM after step {step}, saved. Repeat the command to continue."
    assert [lines_of(errors, "Stopped") for _, errors in ends] == [[line]] * 2
    return path, step


@pytest.mark.slow
def test_a_signal_on_one_worker_stops_all_and_one_has_written(stopped):
    path, step = stopped
    kept = {*[*range(10, step, 10), step][-2:], best_step(path)}
    assert CheckpointStore(str(path)).steps() == sorted(kept)
    evaluated = list(range(10, step + 1, 10))
    assert steps_written(path) == sorted([*range(5, step + 1, 5), *evaluated])
    assert list(MetricsFile(str(path)).evaluations()) == evaluated
    reports = [f"step_{step:08d}.json" for step in evaluated]
    assert sorted(entry.name for entry in (path / "evaluations").iterdir()) == reports
    assert len(list((path / "tensorboard").iterdir())) == 1
    assert not list((path / "checkpoints").glob(".*"))


@pytest.mark.slow
def test_two_workers_find_what_one_process_finds(stopped, tmp_path):
    """Of the one batch of the validation split, the second worker has no image."""
    path, _ = stopped
    step = best_step(path)
    values = MetricsFile(str(path)).evaluations()[step]
    config = Config.load(str(path))
    contents = evaluation.evaluate_model(
        str(path),
        None,
        ["fid", "kid", "segmentation"],
        config.evaluation,
        checkpoint="best",
        json_path=tmp_path / "report.json",
    )
    want = {name: np.nan if value is None else value for name, value in values.items()}
    assert contents["step"] == step
    assert contents["metrics"] == pytest.approx(want, rel=1e-9, nan_ok=True)


@pytest.mark.slow
def test_workers_without_the_checkpoint_are_refused(stopped, data_dir, tmp_path):
    path, step = stopped
    shutil.copy(path / "config.json", tmp_path)
    for status, errors in Cluster(data_dir, step + 5, path, tmp_path).end():
        (line,) = lines_of(errors, "ERROR")
        assert status == 1 and f"worker 0: {step}, worker 1: none" in line
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.json"]


def assert_same_state(got, want):
    """Bit for bit: a sum of two workers' numbers has one order only."""
    for name in ("training", "inference"):
        ours, theirs = got.read(got.steps()[-1], name), want.read(want.steps()[-1], name)
        assert set(ours) == set(theirs)
        for key, array in theirs.items():
            np.testing.assert_array_equal(ours[key], array, err_msg=key)


@pytest.mark.slow
def test_workers_that_die_or_are_preempted_are_started_again(data_dir, tmp_path):
    """The other worker ends by itself; the run goes on like one that nothing has disturbed."""
    steps, disturbed = 60, tmp_path / "disturbed"
    for victim in (1, 0):
        cluster = Cluster(data_dir, steps, disturbed)
        cluster.wait_for_a_checkpoint()
        cluster.processes[victim].kill()
        ends = cluster.end()
        status, errors = ends[1 - victim]
        (line,) = lines_of(errors, "ERROR")
        assert (status, ends[victim][0]) == (1, -9)
        saved = cluster.store.steps()[-1]
        assert line.startswith("ERROR: Another worker no longer answers: it failed")
        assert f"Start all workers again: they continue from checkpoint {saved}." in line
    cluster = Cluster(data_dir, steps, disturbed)
    cluster.wait_for_a_checkpoint()
    for process in cluster.processes:
        process.terminate()
    assert [status for status, _ in cluster.end()] == [128 + signal.SIGTERM] * 2
    whole = Cluster(data_dir, steps, tmp_path / "whole")
    assert [status for status, _ in whole.end()] == [0, 0]
    cluster = Cluster(data_dir, steps, disturbed)
    assert [status for status, _ in cluster.end()] == [0, 0]
    assert steps_written(disturbed) == steps_written(tmp_path / "whole") == [*range(5, 61, 5)]
    assert_same_state(cluster.store, whole.store)

"""Two workers of one run on one machine: one writes, and all stop together."""

import json
import shutil
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

from oasis_tf.training.metrics_file import MetricsFile
from oasis_tf.training.store import CheckpointStore
from tests.training.processes import start

SETTINGS = {"batch_size": 2, "log_every": 5, "checkpoint_every": 10}
WORKERS = 2


def free_addresses():
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(WORKERS)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for one in sockets:
        one.close()
    return addresses


class Cluster:
    """The processes of one run, each with a model directory (usually the same)."""

    def __init__(self, steps, *model_dirs, **settings):
        addresses = free_addresses()
        self.store = CheckpointStore(str(model_dirs[0]))
        self.processes = []
        for index in range(WORKERS):
            task = {"type": "worker", "index": index}
            process = start(
                model_dirs[index % len(model_dirs)],
                SETTINGS | {"steps": steps} | settings,
                stderr=subprocess.PIPE,
                TF_CONFIG=json.dumps({"cluster": {"worker": addresses}, "task": task}),
            )
            self.processes.append(process)

    def wait_for_a_checkpoint(self):
        before = self.store.steps()
        while self.store.steps() == before:
            assert all(process.poll() is None for process in self.processes)
            time.sleep(0.01)

    def end(self):
        """(exit status, lines on standard error) of every worker, once all have ended."""
        errors = [process.communicate(timeout=900)[1].splitlines() for process in self.processes]
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
def stopped(tmp_path_factory):
    """(model directory, step) of a run of which one worker was told to stop, the other was not."""
    path = tmp_path_factory.mktemp("stopped")
    cluster = Cluster(100_000, path, eval_every=10)
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
    assert len(list((path / "tensorboard" / path.name).iterdir())) == 1
    assert not list((path / "checkpoints").glob(".*"))


@pytest.mark.slow
def test_workers_without_the_checkpoint_are_refused(stopped, tmp_path):
    path, step = stopped
    shutil.copy(path / "config.json", tmp_path)
    for status, errors in Cluster(step + 5, path, tmp_path).end():
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
def test_workers_that_die_or_are_preempted_are_started_again(tmp_path):
    """The other worker ends by itself; the run goes on like one that nothing has disturbed."""
    disturbed, long = tmp_path / "disturbed", 100_000
    for victim in (1, 0):
        cluster = Cluster(long, disturbed)
        cluster.wait_for_a_checkpoint()
        cluster.processes[victim].kill()
        ends = cluster.end()
        status, errors = ends[1 - victim]
        (line,) = lines_of(errors, "ERROR")
        assert (status, ends[victim][0]) == (1, -9)
        saved = cluster.store.steps()[-1]
        assert line.startswith("ERROR: Another worker no longer answers: it failed")
        assert f"Start all workers again: they continue from checkpoint {saved}." in line
    cluster = Cluster(long, disturbed)
    cluster.wait_for_a_checkpoint()
    for process in cluster.processes:
        process.terminate()
    assert [status for status, _ in cluster.end()] == [128 + signal.SIGTERM] * 2
    steps = cluster.store.steps()[-1] // 10 * 10 + 20
    whole = Cluster(steps, tmp_path / "whole")
    assert [status for status, _ in whole.end()] == [0, 0]
    cluster = Cluster(steps, disturbed)
    assert [status for status, _ in cluster.end()] == [0, 0]
    lines = [*range(5, steps + 1, 5)]
    assert steps_written(disturbed) == steps_written(tmp_path / "whole") == lines
    assert_same_state(cluster.store, whole.store)

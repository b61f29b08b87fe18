"""Exact restart: a run that is killed outright, over and over, is the run that never stopped."""

import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from oasis_tf.io import json_files
from oasis_tf.training.store import CheckpointStore
from tests.training.processes import start

SAVING = ("weights", "manifest", "rename", "drop")  # stages of toy_main.py
SETTINGS = {"batch_size": 2, "log_every": 4, "checkpoint_every": 2, "strategy": "none"}


class Trainer:
    """Starts runs of one model directory, kills them and counts how often."""

    def __init__(self, model_dir, steps, *flags, **settings):
        self._start = (model_dir, SETTINGS | {"steps": steps} | settings, *flags)
        self._random = random.Random(0)
        self.store = CheckpointStore(str(model_dir))
        self.kills = 0

    def start(self, *flags):
        return start(*self._start, *flags)

    def newest(self):
        return max(self.store.steps(), default=0)

    def kill_while_saving(self, stage):
        process = self.start(f"--die_in={stage}", f"--die_at={self.newest() + 3}")
        assert process.wait(300) == -9, f"not killed in stage {stage}"
        self.kills += 1

    def kill_when(self, ready, seconds=0.0):
        """Kills a new process a random time, up to `seconds`, after `ready()`."""
        process = self.start()
        while not ready():
            assert process.poll() is None, "ended before it was killed"
            time.sleep(0.001)
        time.sleep(self._random.uniform(0, seconds))
        process.kill()
        assert process.wait() == -9, "ended before it was killed"
        self.kills += 1

    def kill_early(self):
        """While TensorFlow is loaded, the checkpoint read, the step traced or already running."""
        end, target = time.monotonic() + self._random.uniform(0, 8), self.newest() + 8
        self.kill_when(lambda: time.monotonic() > end or self.newest() >= target)

    def kill_later(self):
        target = self.newest() + 2 * self._random.randint(1, 4)
        self.kill_when(lambda: self.newest() >= target, seconds=0.1)

    def kill_at_a_hidden_folder(self):
        """A hidden folder of the step after the newest: a checkpoint is being written."""
        found, before = Path(self.store.folder), self.newest()
        self.kill_when(
            lambda: any(int(p.name.split("_")[1][:8]) > before for p in found.glob(".step_*"))
        )


def assert_same_files(got, want):
    """Metrics byte for byte; the same checkpoints, bit for bit."""
    ours, theirs = (Path(store.folder).parent / "metrics.jsonl" for store in (got, want))
    assert ours.read_bytes() == theirs.read_bytes()
    assert got.steps() == want.steps()
    for step in want.steps():
        for name in ("training", "inference"):
            ours, theirs = got.read(step, name), want.read(step, name)
            assert list(ours) == list(theirs)
            for key, array in theirs.items():
                assert ours[key].dtype == array.dtype
                np.testing.assert_array_equal(ours[key], array, err_msg=f"{step} {name} {key}")


@pytest.mark.exhaustive
def test_a_run_killed_over_and_over_is_the_run_that_never_stopped(tmp_path):
    steps = 400
    whole, killed = (Trainer(tmp_path / n, steps, keep_every=40) for n in ("whole", "killed"))
    undisturbed = whole.start()
    for stage in SAVING:
        killed.kill_while_saving(stage)
    for _ in range(4):
        killed.kill_early()
        killed.kill_later()
        killed.kill_early()
        killed.kill_at_a_hidden_folder()
    assert killed.kills >= 20 and killed.newest() < steps
    assert killed.start().wait(600) == 0 and undisturbed.wait(600) == 0
    assert whole.newest() == steps
    assert_same_files(killed.store, whole.store)


def test_two_replicas_killed_and_restarted_end_as_one_device_that_never_stopped(tmp_path):
    """Bit for bit as two replicas that never stopped; as one device to rounding."""
    two = ("--devices=2",)
    one = Trainer(tmp_path / "one", 9)
    whole = Trainer(tmp_path / "whole", 9, *two, strategy="mirrored")
    killed = Trainer(tmp_path / "killed", 9, *two, strategy="mirrored")
    running = [one.start(), whole.start()]
    killed.kill_while_saving("rename")
    assert killed.newest() == 2
    assert [process.wait(300) for process in (*running, killed.start())] == [0, 0, 0]
    assert_same_files(killed.store, whole.store)
    got, want = whole.store.read(9, "training"), one.store.read(9, "training")
    assert set(got) == set(want) and got["optimizer/iteration"] == 9
    for name in set(want) - {"pending/names"}:
        tolerance = 1e-6 if name.startswith("pending/") else 1e-12  # metrics are kept in float32
        np.testing.assert_allclose(got[name], want[name], rtol=tolerance, err_msg=name)


@pytest.mark.slow
def test_a_second_training_is_refused_and_the_first_goes_on(tmp_path):
    model_dir, settings = tmp_path / "model", SETTINGS | {"steps": 100_000, "log_every": 1}
    first = start(model_dir, settings)
    while not (model_dir / "metrics.jsonl").exists():
        assert first.poll() is None
        time.sleep(0.01)
    second = start(model_dir, settings, stderr=subprocess.PIPE)
    error = second.communicate(timeout=300)[1]
    first.terminate()
    assert first.wait(300) == 128 + signal.SIGTERM
    assert second.returncode == 1 and f"is being trained by process {first.pid} on" in error
    lines = (model_dir / "metrics.jsonl").read_text().splitlines()
    steps = [json_files.loads(line)["step"] for line in lines]
    assert steps == list(range(1, len(steps) + 1))
    assert not (model_dir / ".training.lock").exists()

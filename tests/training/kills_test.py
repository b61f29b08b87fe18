"""Exact restart: a run that is killed outright, over and over, is the run that never stopped."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from oasis_tf.training import loop
from oasis_tf.training.store import CheckpointStore

STEPS = 220
SAVING = ("weights", "manifest", "rename", "drop")  # stages of kills_main.py
FLAGS = [
    *("--crop_height=32", "--crop_width=32", "--resize_height=36", "--resize_width=36"),
    *("--generator_channels=1", "--discriminator_channels=1", "--spade_channels=4"),
    *("--generator_widths=2,2,1", "--discriminator_widths=2,2", "--noise_channels=4"),
    *("--batch_size=2", "--ema_decay=0.5", "--statistics_batches=1", f"--steps={STEPS}"),
    *("--log_every=3", "--checkpoint_every=2", "--keep_every=40", "--strategy=none"),
]


class Trainer:
    """Starts the train command on one model directory, kills it and counts how often."""

    def __init__(self, data_dir, model_dir, seed=0):
        self._flags = [*FLAGS, f"--data_dir={data_dir}", f"--model_dir={model_dir}"]
        self._random = random.Random(seed)
        self.store = CheckpointStore(str(model_dir))
        self.kills = 0

    def start(self, *command):
        source = str(Path(loop.__file__).resolve().parents[2])
        command = command or ("-m", "oasis_tf.train")
        return subprocess.Popen(
            [sys.executable, *map(str, command), *self._flags],
            env=os.environ | {"PYTHONPATH": source},
            stdout=subprocess.DEVNULL,
        )

    def newest(self):
        return max(self.store.steps(), default=0)

    def kill_while_saving(self, stage):
        script = Path(__file__).with_name("kills_main.py")
        process = self.start(script, stage, self.newest() + 3)
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


@pytest.mark.slow
def test_a_run_killed_over_and_over_is_the_run_that_never_stopped(data_dir, tmp_path):
    whole, killed = Trainer(data_dir, tmp_path / "whole"), Trainer(data_dir, tmp_path / "killed")
    undisturbed = whole.start()
    for stage in SAVING:
        killed.kill_while_saving(stage)
    for _ in range(4):
        killed.kill_early()
        killed.kill_later()
        killed.kill_early()
        killed.kill_at_a_hidden_folder()
    assert killed.kills >= 20 and killed.newest() < STEPS
    assert killed.start().wait(600) == 0 and undisturbed.wait(600) == 0
    assert whole.newest() == STEPS
    assert_same_files(killed.store, whole.store)

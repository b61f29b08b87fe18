"""Devices: which strategy a name means, who writes, and that replicas change nothing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from oasis_tf.training import strategies


class Strategy:
    """As much of a `tf.distribute` strategy as the checks look at."""

    def __init__(self, replicas=1, resolver=None):
        self.num_replicas_in_sync = replicas
        self.cluster_resolver = resolver


class Resolver:
    def __init__(self, task_type, task_id):
        self.task_type, self.task_id = task_type, task_id


def test_one_device_needs_no_strategy(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    default = tf.distribute.get_strategy()
    assert strategies.make_strategy("none") is default
    if len(tf.config.list_logical_devices("GPU")) < 2:
        assert strategies.make_strategy("auto") is default
    assert isinstance(strategies.make_strategy("mirrored"), tf.distribute.MirroredStrategy)


@pytest.mark.parametrize(
    ("resolver", "chief"),
    [
        (None, True),
        (Resolver("", None), True),
        (Resolver("chief", 0), True),
        (Resolver("worker", 0), True),
        (Resolver("worker", 1), False),
        (Resolver("evaluator", 0), False),
    ],
)
def test_one_process_writes(resolver, chief):
    assert strategies.is_chief(Strategy(resolver=resolver)) == chief


def test_batch_size_must_divide():
    strategies.check_batch_size(Strategy(4), 8)
    with pytest.raises(ValueError, match="devices, 4. Received: batch_size=10. .*: 8 or 12."):
        strategies.check_batch_size(Strategy(4), 10)
    with pytest.raises(ValueError, match="batch_size=2. Nearest valid: 4."):
        strategies.check_batch_size(Strategy(4), 2)


def test_distribute_asks_for_the_rows_of_this_worker():
    asked = []

    def batches(rows):
        asked.append(rows)
        return tf.data.Dataset.from_tensors(tf.range(*rows)).repeat(2)

    found = list(strategies.distribute(strategies.make_strategy("none"), 6, batches))
    assert asked == [(0, 6)]
    np.testing.assert_array_equal(found, [range(6)] * 2)


def test_two_replicas_equal_one(tmp_path):
    """Losses, weights, statistics in float64 after ten steps; see replicas_main.py."""
    source = Path(strategies.__file__).resolve().parents[2]
    script, output = Path(__file__).with_name("replicas_main.py"), tmp_path / "results.npz"
    done = subprocess.run(
        [sys.executable, script, output],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    with np.load(output) as results:
        one = {k.partition(":")[2]: v for k, v in results.items() if k.startswith("none:")}
        two = {k.partition(":")[2]: v for k, v in results.items() if k.startswith("mirrored:")}
    assert (one.pop("replicas"), two.pop("replicas")) == (1, 2)
    assert set(one) == set(two) and len(one) > 200
    for name, array in one.items():
        difference = np.linalg.norm(two[name] - array)
        assert difference <= 1e-9 * np.linalg.norm(array) + 1e-12, name

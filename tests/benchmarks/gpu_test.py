"""OASIS on Keras' JAX backend where there is no TensorFlow: measured, and trained."""

import importlib.util
import json
import os
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from benchmarks import gpu
from benchmarks.environment import REPOSITORY
from benchmarks.oasis.packed_data import STATISTICS, Draws, PackedData
from oasis_tf.data.datasets import folder_label_space

SETTINGS = {"crop_height": 64, "crop_width": 64, "batch_size": 3, "steps": 9}
QUICK = "--xla_backend_optimization_level=0"  # to compile
# Shallow: XLA takes long to compile, however narrow the networks.
NETWORKS = {
    "generator_channels": 2,
    "generator_widths": "2,1,1",
    "discriminator_channels": 2,
    "discriminator_widths": "1,1",
    "spade_channels": 2,
    "noise_channels": 4,
}


@pytest.fixture
def without_tensorflow(tmp_path):
    """Function: runs `benchmarks.gpu` where importing TensorFlow fails; its standard output."""
    (tmp_path / "stub/tensorflow").mkdir(parents=True)
    (tmp_path / "stub/tensorflow/__init__.py").write_text("raise ImportError('not here')")
    paths = os.pathsep.join([str(tmp_path / "stub"), str(REPOSITORY)])

    def run(*arguments, **flags):
        given = [f"--{name}={value}" for name, value in flags.items()]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.gpu", *arguments, *given],
            cwd=tmp_path,
            env=os.environ
            | {"PYTHONPATH": paths, "XLA_FLAGS": "--xla_backend_optimization_level=0"},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


# === Rows and time ===


@pytest.fixture
def measured(script, tmp_path):
    """Function: rows of a contender that behaves as named, after they were measured."""

    def measure(behaviour, rows=2, minutes=1.0, seconds=0.5):
        args = types.SimpleNamespace(minutes=minutes, rounds=3, round_seconds=2)
        found = [gpu.Row(f"row {k}", {"task": "step", "batch_size": 4}) for k in range(rows)]
        report = gpu.Report(str(tmp_path / "report.json"), found, {})
        deadline = time.monotonic() + 60 * minutes
        gpu._run_group("ours", script(behaviour, seconds), found, deadline, args, report)
        written = json.loads((tmp_path / "report.json").read_text())["rows"]
        assert [row["outcome"] for row in written] == [row.outcome for row in found]
        return found, report

    return measure


def test_rounds_are_as_long_as_asked_for(measured):
    rows, report = measured("answers")
    assert [row.seconds for row in rows] == 2 * [[0.5] * 3]
    assert "8.0" in report.table()  # images a second: 4 in 0.5 s


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [("dies", "failed"), ("full", "out of memory"), ("answers", "no time")],
)
def test_every_row_has_an_outcome(measured, behaviour, outcome):
    """A contender that failed is started again for the next row; without time none is."""
    rows, report = measured(behaviour, minutes=0 if outcome == "no time" else 1)
    assert [row.outcome for row in rows] == [outcome] * 2
    assert report.table().count(outcome) == 2


def test_exit_status_tells_of_a_comparison_that_failed(capsys):
    row = gpu.Row("parity float32", {"task": "parity"}, outcome="compiled")
    rows = [{"item": "outputs", "tolerance": 1e-5, "measured": 2e-5}]
    report = gpu.Report(None, [row], {})
    row.facts = {"rows": rows}
    with pytest.raises(SystemExit, match="parity float32: outputs"):
        report.check()
    row.facts = {"rows": [rows[0] | {"measured": 1e-6}]}
    report.check()
    row.outcome = "no time"
    with pytest.raises(SystemExit, match="parity float32: no time"):
        report.check()


# === Packed data ===


@pytest.fixture(scope="module")
def packed():
    """Five images of 64x80 of four classes."""
    images = np.zeros((5, 64, 80, 3), np.uint8)
    return PackedData(images, np.zeros((5, 64, 80), np.uint8), folder_label_space(4, None), "/data")


def test_crops_fit_the_packed_size(packed):
    config = packed.config({"crop_width": 64, "steps": 7})
    assert (config.data.crop_height, config.data.crop_width) == (64, 64)
    assert (config.data.resize_height, config.data.resize_width) == (64, 80)
    assert (config.data.data_dir, config.training.steps) == ("/data", 7)
    with pytest.raises(ValueError, match="--resize_width must be that of the packed images, 80"):
        packed.config({"resize_width": 96, "crop_width": 64})


def test_a_file_that_was_not_packed(tmp_path):
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    with pytest.raises(ValueError, match="lacks: data_dir, label_maps, label_space"):
        PackedData.load(tmp_path / "other.npz")


def test_draws_follow_from_seed_and_step(packed):
    config = packed.config(SETTINGS)
    draws, again = Draws(config, 5), Draws(config, 5)
    rows = np.concatenate([draws(step)["row"] for step in range(5)])
    assert all(sorted(epoch) == list(range(5)) for epoch in rows.reshape(3, 5))
    first = draws(0)
    assert all(np.array_equal(first[name], value) for name, value in again(0).items())
    for other in (
        draws(1),
        draws(0, STATISTICS),
        Draws(packed.config(SETTINGS | {"seed": 1}), 5)(0),
    ):
        assert not np.array_equal(first["noise"], other["noise"])
    lefts = np.concatenate([draws(step)["left"] for step in range(60)])
    assert (lefts.min(), lefts.max()) == (0, 16)
    assert not np.array_equal(first["noise"], first["discriminator_noise"])


# === Without TensorFlow ===


@pytest.mark.slow
def test_equals_the_golden_file_and_measures(without_tensorflow, tmp_path):
    """Three iterations on JAX are those of the authors' release; and every row has its numbers."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    report = tmp_path / "gpu.json"
    sizes = {"crop_height": 64, "crop_width": 64, "num_classes": 14} | NETWORKS
    few = {"precisions": "bfloat16", "labels": "one_hot", "batches": 2, "peer": "none"}
    shown = without_tensorflow(rounds=1, round_seconds=0, json=report, **sizes, **few)
    assert shown.count("  yes") == len(json.loads(report.read_text())["rows"][0]["facts"]["rows"])
    golden, *rows = json.loads(report.read_text())["rows"]
    assert len(golden["facts"]["rows"]) > 25
    assert [row["outcome"] for row in rows] == ["measured"] * 2
    for row in rows:
        assert row["facts"]["memory"]["total"] > row["facts"]["memory"]["temporary"] > 0
    assert rows[0]["facts"]["estimated_bytes"] > 0


@pytest.mark.slow
def test_trains_a_model_that_commands_take(without_tensorflow, data_dir, run_module, tmp_path):
    """From packed data to a model directory, without TensorFlow; with it, training can go on."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    import oasis_tf
    from oasis_tf.systems.oasis.build import build_for_training, state_variables
    from oasis_tf.systems.oasis.config import Config
    from oasis_tf.training.store import CheckpointStore

    arrays, model_dir = tmp_path / "arrays.npz", tmp_path / "model"
    size = {"crop_height": 64, "crop_width": 64}
    done = run_module("benchmarks.gpu", f"--pack={data_dir}", f"--output={arrays}",
                      *(f"--{name}={value}" for name, value in size.items()))  # fmt: skip
    assert done.returncode == 0, done.stderr
    settings = {"steps": 3, "batch_size": 2, "log_every": 2, "statistics_batches": 2, "seed": 5}
    shown = without_tensorflow(train=arrays, model_dir=model_dir, **settings, **size, **NETWORKS)
    assert "step 2 " in shown and "holds step 3 of 3" in shown

    config = Config.load(model_dir)
    assert config.data.data_dir == data_dir and config.training.seed == 5
    saved = CheckpointStore(str(model_dir)).read(3, "training")
    assert set(saved) == set(state_variables(build_for_training(config)))
    model = oasis_tf.load(model_dir)
    image = model.generate(np.zeros((64, 64), np.int32), seed=1)
    assert image.shape == (64, 64, 3) and np.isfinite(image).all() and image.std() > 0
    statistics = CheckpointStore(str(model_dir)).read(3, "inference")
    means = [name for name in statistics if name.endswith("moving_mean")]
    for name in means:  # re-estimated
        assert not np.array_equal(statistics[name], saved[f"generator_ema/{name}"])
    assert means

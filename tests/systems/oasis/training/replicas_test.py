"""Replicas and workers change nothing: OASIS in training and its evaluations."""

import contextlib
import functools
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oasis_tf.training import strategies

# A batch norm follows these biases: their true gradient is 0, so what is found is rounding.
NO_GRADIENT = re.compile(r"(stem|block_\d+[/_]conv_0|block_0[/_]conv_1)[/_]bias")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No cluster, whatever the tests run on."""
    for name in [name for name in os.environ if name.startswith("SLURM")] + ["TF_CONFIG"]:
        monkeypatch.delenv(name, raising=False)


def start(output, name, dtype, **environment):
    """Starts replicas_main.py."""
    source = str(Path(strategies.__file__).resolve().parents[2])
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("replicas_main.py"), output, name, dtype],
        env=os.environ | {"PYTHONPATH": source} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(process, output):
    """What the process wrote, by name."""
    errors = process.communicate(timeout=900)[1]
    assert process.returncode == 0, errors
    with np.load(output) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    """function(type) -> results on one device, run once, which all others are compared with."""

    @functools.cache
    def reference(dtype):
        output = tmp_path_factory.mktemp("reference") / "results.npz"
        return results(start(output, "none", dtype), output)

    return reference


def assert_same_evaluation(one, many):
    """Images bit for bit; values to float64 rounding."""
    np.testing.assert_array_equal(many["generated"], one["generated"])
    names = [name for name in one if name.startswith("evaluation/")]
    assert len(names) > 15 and one["generated"].std() > 0.1
    for name in names:
        np.testing.assert_allclose(many[name], one[name], rtol=1e-9, err_msg=name)


def assert_equal_in_float64(one, many, replicas):
    """Losses, weights, optimizers, statistics to 1e-9 after ten steps; evaluations."""
    assert_same_evaluation(one, many)
    assert set(one) == set(many) and len(one) > 400
    assert_few_messages(many)
    assert (one["operations/replicas"], many["operations/replicas"]) == (1, replicas)
    assert_same_training(one, many, NO_GRADIENT)


def assert_few_messages(found):
    """In a step, per device: one collective operation for each of four batch norms in G's step, its
    gradients and D's step; one for the classes, two for gradients, one for the metrics. A further
    device takes the counters of the step and the two optimizers from the first.
    """
    devices = found["operations/devices"]
    assert found["operations/collectives"] == devices * (3 * 4 + 1 + 2 + 1)
    assert found["operations/copies"] <= 3 * (devices - 1)


def assert_same_training(one, many, no_gradient):
    for name in (name for name in one if not name.startswith(("evaluation/", "operations/"))):
        if not no_gradient.search(name):
            difference = np.linalg.norm(many[name] - one[name])
            # A LabelMix loss of 1e-15, where all bits are alike, is rounding too.
            assert difference <= 1e-9 * np.linalg.norm(one[name]) + 1e-18, name
        elif name.startswith("gradient/"):
            assert max(abs(one[name]).max(), abs(many[name]).max()) < 1e-15, name


def assert_close_in_float32(one, many, replicas):
    """Gradients of the first step to 1e-4, losses of the first two to 1e-5."""
    assert (one["operations/replicas"], many["operations/replicas"]) == (1, replicas)
    assert set(one) == set(many)
    losses = {name: 1e-5 for name in one if re.match("log/[01]/loss", name)}
    gradients = {name: 1e-4 for name in one if name.startswith("gradient/")}
    assert len(losses) == 10 and len(gradients) > 60
    for name, bound in (losses | gradients).items():
        if not NO_GRADIENT.search(name):
            difference = np.linalg.norm(many[name] - one[name])
            assert difference <= bound * np.linalg.norm(one[name]), name


COMPARISONS = {"float64": assert_equal_in_float64, "float32": assert_close_in_float32}


@pytest.mark.parametrize(
    ("devices", "dtype"),
    [
        pytest.param(2, "float64", marks=pytest.mark.slow),
        pytest.param(2, "float32", marks=pytest.mark.exhaustive),
        pytest.param(4, "float64", marks=pytest.mark.slow),
        pytest.param(4, "float32", marks=pytest.mark.exhaustive),
    ],
)
def test_replicas_equal_one_device(on_one_device, tmp_path, devices, dtype):
    output = tmp_path / "results.npz"
    many = results(start(output, f"mirrored_{devices}", dtype), output)
    COMPARISONS[dtype](on_one_device(dtype), many, devices)


@pytest.mark.slow
def test_xla_on_replicas_equals_one_device_without(tmp_path):
    output = tmp_path / "results.npz"
    found = results(start(output, "xla_2", "float64"), output)
    one, many = (
        {name.removeprefix(which): value for name, value in found.items() if which in name}
        for which in ("one/", "many/")
    )
    assert set(one) == {name for name in many if "operations/" not in name} and len(one) > 150
    assert_same_training(one, many, re.compile(r"(stem|block_0[/_]conv_0)[/_]bias"))
    assert many["operations/convolutions"] == 0 < many["operations/compiled"]


def free_slurm_job():
    """A job number whose two ports are free."""
    for job in map(str, range(os.getpid(), os.getpid() + 768)):
        first = strategies._slurm_port(job)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in (first, first + 1):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return job
    raise AssertionError("no free ports")


@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param("float64", marks=pytest.mark.slow),
        pytest.param("float32", marks=pytest.mark.exhaustive),
    ],
)
def test_workers_equal_one_device(on_one_device, tmp_path, dtype):
    """Two tasks of a SLURM step, as far as their environment goes."""
    step = {
        "SLURM_JOB_ID": free_slurm_job(),
        "SLURM_NTASKS": "4",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_STEP_TASKS_PER_NODE": "2",
    }
    outputs = [tmp_path / f"results_{rank}.npz" for rank in (0, 1)]
    processes = [
        start(output, "auto", dtype, **step | {"SLURM_PROCID": str(rank)})
        for rank, output in enumerate(outputs)
    ]
    for process, output in zip(processes, outputs, strict=True):
        COMPARISONS[dtype](on_one_device(dtype), results(process, output), 2)

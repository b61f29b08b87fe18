"""For the tests of the benchmarks: a contender that does as it is told, and prepared data."""

import json
import sys

import pytest

SCRIPT = """
import json, subprocess, sys, time

def answer(text):
    print(text, flush=True)

behaviour, seconds = sys.argv[1], float(sys.argv[2])
for line in sys.stdin:
    request = json.loads(line)
    if "setup" in request:
        answer(json.dumps({"state_bytes": 2**20, "setup": request["setup"]}))
    elif behaviour == "dies":
        print("out of luck", file=sys.stderr)
        sys.exit(3)
    elif behaviour == "full":
        answer(json.dumps({"out_of_memory": "no room"}))
    elif behaviour == "hangs":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(f"child {child.pid}", file=sys.stderr, flush=True)
        time.sleep(600)
    else:
        answer(json.dumps({"seconds": seconds * request["run"], "peak_bytes": 3 * 2**20}))
"""


@pytest.fixture(scope="session")
def script(tmp_path_factory):
    """Function: command line (a list) of a contender that behaves as named."""
    path = tmp_path_factory.mktemp("contender") / "contender.py"
    path.write_text(SCRIPT)

    def command(behaviour="answers", seconds=1.0):
        return [sys.executable, str(path), behaviour, str(seconds)]

    return command


@pytest.fixture(scope="session")
def data_dir(write_shapes):
    """Two scenes to train on and three for validation, of 12 classes."""
    return write_shapes(2, 3)


@pytest.fixture
def report_of(run_module, tmp_path):
    """Function that runs a benchmark at the smallest size: (what it printed, its JSON)."""
    small = {"height": 64, "width": 64, "channels": 2, "spade_channels": 4, "noise_channels": 4}
    small |= {"num_classes": 14, "rounds": 2, "iterations": 2, "warmup": 1, "batches": 2}

    def run(name, *arguments, **changes):
        given = [f"--{key}={value}" for key, value in (small | changes).items()]
        path = tmp_path / "report.json"
        done = run_module(f"benchmarks.{name}", *given, *arguments, f"--json={path}")
        assert done.returncode == 0, done.stderr
        return done.stdout, json.loads(path.read_text())

    return run


@pytest.fixture(scope="session")
def model_dir(data_dir, write_model):
    """A model directory as training leaves it: 64x64, 4 noise channels, weights drawn at random."""
    small = {"generator_channels": 1, "discriminator_channels": 1, "spade_channels": 2}
    widths = {"generator_widths": (1, 1, 1), "discriminator_widths": (1, 1)}
    return write_model(data_dir, 1, noise_channels=4, **small, **widths)

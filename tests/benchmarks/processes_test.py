"""Contenders as processes: both sides, and what goes wrong."""

import os
import re
import sys
import time

import pytest

from benchmarks import processes

HAS_PROC = os.path.isdir("/proc/self")
MIB = 2**20


def start(command, timeout=60):
    return processes.Contender("fake", command, timeout, threads=1)


def state(pid):
    """Letter of a process' state, "" if there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def test_answers(script):
    with start(script("answers", 0.25)) as contender:
        assert contender.setup({"task": "step"})["setup"] == {"task": "step"}
        assert contender.run(1) == (0.25, 3 * MIB)
        assert contender.run(4) == (1.0, 3 * MIB)


def wait_for_state(pid, states):
    """Signals arrive a moment after they are sent."""
    end = time.monotonic() + 30
    while state(pid) not in states:
        assert time.monotonic() < end, state(pid)
        time.sleep(0.01)


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc")
def test_stands_still_between_turns_and_ends(script):
    with start(script()) as contender:
        contender.setup({})
        wait_for_state(contender._process.pid, ("T",))
        pid = contender._process.pid
    assert contender._process.returncode == 0
    assert state(pid) == ""


@pytest.mark.parametrize(
    ("behaviour", "error", "message"),
    [
        ("dies", ChildProcessError, r"fake ended before it answered \(exit code 3\)"),
        ("hangs", TimeoutError, "fake did not answer run within 1 seconds"),
    ],
)
def test_says_what_went_wrong(script, behaviour, error, message):
    began = time.monotonic()
    with pytest.raises(error, match=message) as caught, start(script(behaviour)) as contender:
        contender.setup({})
        contender.timeout = 1
        contender.run(1)
    assert time.monotonic() - began < 30
    if behaviour == "dies":
        assert "standard error ends with:\n  out of luck" in str(caught.value)
    if behaviour == "hangs" and HAS_PROC:
        child = re.search(r"child (\d+)", str(caught.value))[1]
        wait_for_state(child, ("", "Z"))  # a zombie until its new parent looks


OWN_SIDE = """
from benchmarks import contender

def load_libraries():
    print("a library greets")
    contender.kept = bytearray(50 * 2**20)

def make(setup):
    print("a model is made")
    contender.weights = bytearray(20 * 2**20)
    def run(index):
        print("computing")
        if setup["megabytes"][index] is None:
            raise RuntimeError("RESOURCE_EXHAUSTED: no room\\nfor this")
        held = bytearray(setup["megabytes"][index] * 2**20)
        seen.append(index)
        if len(seen) == 4:
            assert seen == [0, 1, 2, 3]
    return run, {"state_bytes": 20 * 2**20}

seen = []
contender.serve(load_libraries, make)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peak stays")
def test_own_side_measures_time_and_peak(tmp_path):
    """Memory counts from after loading, a round's peak is its own, and prints do no harm."""
    (tmp_path / "own.py").write_text(OWN_SIDE)
    with start([sys.executable, str(tmp_path / "own.py")]) as contender:
        contender.setup({"megabytes": [None]})
        with pytest.raises(processes.OutOfMemoryError, match="fake: RESOURCE_EXHAUSTED: no room$"):
            contender.run(1)
        facts = contender.setup({"megabytes": [30, 80, 0, 0]})
        assert facts["state_bytes"] == 20 * MIB
        assert "reset before every round" in facts["memory"]
        peaks = []
        for count in (2, 1, 1):
            began = time.perf_counter()
            seconds, peak = contender.run(count)
            assert 0 < seconds < time.perf_counter() - began
            peaks.append(peak / MIB)
    assert peaks == pytest.approx([100, 20, 20], abs=5)

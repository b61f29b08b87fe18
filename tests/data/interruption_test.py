"""Preparation in real processes: killed at any moment, on a full disk, in bounded memory.

The programs below fork from a process that has imported TensorFlow but not used it, so that many
processes cost little.
"""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

PREAMBLE = '''
import os, re, signal, subprocess, sys, traceback
from pathlib import Path
from oasis_tf.data import layouts, preparation, tfrecord

def contents(*folders):
    """Returns all files of the folders."""
    files = sorted(path for folder in folders for path in Path(folder).rglob("*"))
    return {"/".join(path.parts[-2:]): path.read_bytes() for path in files if path.is_file()}

def prepare(root, **options):
    """Prepares 12 scenes in 2 + 2 shards, with label files."""
    sizes = {"num_train": 9, "num_val": 3, "height": 64, "width": 64} | options
    splits, space = layouts.find_examples("shapes", None, **sizes)
    preparation.prepare(
        splits, space, f"{root}/data", num_shards=2, num_workers=1, label_files=f"{root}/labels"
    )

def run(function, *arguments):
    """Calls a function in a new process; returns its (status, error)."""
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        os.close(reader)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            function(*arguments)
        except Exception as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        error = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), error
'''


@pytest.fixture
def run_program(tmp_path):
    """A function that runs `PREAMBLE` and Python text as a program and returns its output."""

    def run(text, *arguments, before=()):
        (tmp_path / "program.py").write_text(PREAMBLE + textwrap.dedent(text))
        done = subprocess.run(
            [*before, sys.executable, str(tmp_path / "program.py"), *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("stride", [13, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.exhaustive
def test_killed_at_every_moment(run_program, stride):
    """A moment is every file opened, renamed or removed, and every record written."""
    printed = run_program(
        """
        def killed_at(moment, root):
            count = 0

            def pass_moment(event, arguments):
                nonlocal count
                ours = event in ("open", "os.rename", "os.remove", "os.mkdir")
                if event == "record" or ours and str(arguments[0]).startswith(root):
                    count += 1
                    if count == moment:
                        os.kill(os.getpid(), signal.SIGKILL)

            serialize = tfrecord.serialize_example
            tfrecord.serialize_example = lambda **x: pass_moment("record", ()) or serialize(**x)
            sys.addaudithook(pass_moment)
            prepare(root)

        assert run(prepare, f"{os.getcwd()}/whole") == (0, "")
        whole = contents("whole")
        assert len(whole) == 4 + 2 + 3
        moment, outcomes = 1, []
        while True:
            root = f"{os.getcwd()}/killed{moment}"
            status, error = run(killed_at, moment, root)
            if (status, error) == (0, ""):
                break
            assert status == -signal.SIGKILL
            try:
                tfrecord.PreparedDataset.load(f"{root}/data")
                complete = True
            except FileNotFoundError:
                complete = False
            status, error = run(prepare, root)
            assert status == 0 and error.startswith(complete * "ValueError: "), error
            assert ("holds a prepared data set already" in error) == complete
            assert contents(root) == whole, moment
            outcomes.append(complete)
            moment += int(sys.argv[1])
        assert contents(root) == whole
        print(moment, sum(outcomes))
        """,
        stride,
    )
    moments, complete = map(int, printed.split())
    assert moments > 50 and complete >= (stride == 1)


@pytest.fixture
def own_mounts():
    """A command under which a program can mount its own file systems."""
    command = ["unshare", "-rm"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*command, "mount", "-t", "tmpfs", "x", "/mnt"]).returncode
    ):
        pytest.skip("needs a file system of its own")
    return command


def test_full_disk(run_program, own_mounts):
    """No half-written file is left, the error says what to do, and the same command continues."""
    printed = run_program(
        """
        def mount(options):
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", "disk"], check=True)

        assert run(prepare, "whole") == (0, "")
        whole = contents("whole")
        os.mkdir("disk")
        for kibibytes in (8, 48, 80, 104, 500):
            mount(f"size={kibibytes}k")
            status, error = run(prepare, "disk")
            assert status == 0
            found = contents("disk")
            if error:
                assert error.startswith("OSError: Cannot write disk/"), error
                assert error.count("Make room there") == 1 and "finished shards are kept" in error
                assert not any(name.endswith("dataset.json") or ".tmp" in name for name in found)
                for name, content in found.items():
                    assert name == "data/preparation.json" or content == whole[name], name
                mount("remount,size=10m")
                assert run(prepare, "disk") == (0, "")
            assert contents("disk") == whole
            subprocess.run(["umount", "disk"], check=True)
            print(re.sub(":.*", "", error.replace("OSError: Cannot write disk/", "")) or "done")
        """,
        before=own_mounts,
    )
    first, *failed, last = printed.split()
    assert first == "data" and last == "done"  # found before work starts; enough room
    assert any(name.endswith(".tfrecord") for name in failed)


SOURCES = """
import dataclasses
import numpy as np
from oasis_tf.data.examples import EncodedExample
from oasis_tf.io.images import encode_png

SIDE = 182
LABELS = encode_png(np.zeros((SIDE, SIDE), np.uint8))

@dataclasses.dataclass(frozen=True)
class Source:
    key: str

    def check(self, label_space):
        return []

    def encode(self, space):
        noise = np.random.default_rng(int(self.key)).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        pixels = np.array([SIDE * SIDE, 0])
        image = encode_png(noise, compress_level=0)
        return EncodedExample(self.key, image, "png", LABELS, SIDE, SIDE, pixels)

    def identity(self):
        return self.key

    def num_bytes(self):
        return 100_000
"""


def test_memory_does_not_grow_with_the_data_set(run_program, tmp_path):
    """In one process; `workers_test` bounds the work in progress of other processes."""
    (tmp_path / "sources.py").write_text(SOURCES)
    printed = run_program(
        """
        from sources import Source
        from oasis_tf.data.datasets import folder_label_space

        for count in (200, 2000):
            splits = {"train": [Source(f"{k}") for k in range(count)]}
            preparation.prepare(splits, folder_label_space(2), f"out{count}", num_workers=1)
            status = Path("/proc/self/status").read_text()
            print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1024)
        """
    )
    few, many = map(float, printed.split())
    assert many - few < 40  # MiB; the images are 190 MiB

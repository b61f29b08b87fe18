"""The lock of a model directory: one training at a time, whatever became of the one before."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import oasis_tf
from oasis_tf.io import locks
from oasis_tf.training.directory_lock import NAME, DirectoryLock

HOLDING = """
import sys, time
from oasis_tf.training.directory_lock import DirectoryLock

with DirectoryLock("model") as lock:
    lock.take()
    print("taken", flush=True)
    time.sleep(600)
"""


def test_a_second_is_refused_until_the_first_dies(tmp_path):
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDING],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(oasis_tf.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stdout.readline() == "taken\n"
        model_dir = str(tmp_path / "model")
        message = (
            f"^{model_dir} is being trained by process {first.pid} on {socket.gethostname()}. "
            "Wait .* another --model_dir"
        )
        with DirectoryLock(model_dir) as second:
            with pytest.raises(ValueError, match=message):
                second.take()
            assert (tmp_path / "model" / NAME).exists()
            first.kill()
            first.wait()
            second.take()
            second.take()
            assert f"process {os.getpid()} on" in (tmp_path / "model" / NAME).read_text()
    finally:
        first.kill()
    assert os.listdir(model_dir) == []


def test_a_lock_not_taken_leaves_no_directory(tmp_path):
    with DirectoryLock(str(tmp_path / "model")):
        pass
    assert os.listdir(tmp_path) == []


def test_a_file_that_its_holder_removed_meanwhile_is_made_again(tmp_path, monkeypatch):
    opened, calls = locks.open_locked, []

    def late(path, flags):
        descriptor = opened(path, flags)
        calls.append(path)
        if len(calls) == 1:
            os.remove(path)
        return descriptor

    monkeypatch.setattr(locks, "open_locked", late)
    with DirectoryLock(str(tmp_path)) as lock, DirectoryLock(str(tmp_path)) as second:
        lock.take()
        with pytest.raises(ValueError, match="is being trained by process"):
            second.take()
    assert len(calls) == 2


@pytest.mark.parametrize("number", [None, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_without_locks_one_warning_says_so(tmp_path, monkeypatch, caplog, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    if number is None:
        monkeypatch.setattr(locks, "fcntl", None)
    else:
        monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with DirectoryLock(str(tmp_path)) as lock, DirectoryLock(str(tmp_path)) as second:
        for one in (lock, lock, second):
            one.take()
    assert caplog.text.count("cannot be locked: its file system has no locks") == 2


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write .*file/model/.*another --model_dir"):
        DirectoryLock(str(tmp_path / "file" / "model")).take()

"""Files written aside are whole or unchanged."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import oasis_tf
from oasis_tf.io import files, locks


def test_the_file_is_replaced_after_the_block(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for text in ("first", "second"):
        with files.written_aside(path) as aside:
            assert os.path.splitext(aside)[1] == ".txt"
            assert os.path.dirname(aside) == str(path.parent)
            with open(aside, "w") as file:
                file.write(text)
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), files.written_aside(path) as aside:
        with open(aside, "w") as file:
            file.write("half")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


# === Names, and what killed processes leave ===


def test_no_two_asides_have_the_same_name(tmp_path):
    """Process ids repeat in containers."""
    path = tmp_path / f"{'x' * 250}.png"
    with files.written_aside(path) as first, files.written_aside(path) as second:
        assert first != second and sorted(os.listdir(tmp_path)) == sorted(
            map(os.path.basename, (first, second))
        )
    with files.folder_written_aside(tmp_path / "1") as aside:
        assert re.fullmatch(r"\.1\.[0-9a-f]{16}\.tmp", os.path.basename(aside))


KILLED = """
import contextlib, os, signal, sys
from oasis_tf.io import files

with contextlib.ExitStack() as stack:
    with open(stack.enter_context(files.written_aside("a.txt")), "w") as file:
        file.write("half")
    os.mkdir(os.path.join(stack.enter_context(files.folder_written_aside("1")), "assets"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_asides_of_a_killed_process_are_removed_and_those_of_a_living_one_are_not(tmp_path):
    for name in (".a.123.tmp.txt", ".notes.tmp"):  # of an earlier release; of somebody else
        (tmp_path / name).write_text("")
    with files.written_aside(tmp_path / "a.txt") as living:
        source = str(Path(oasis_tf.__file__).parents[1])
        command, environment = [sys.executable, "-c", KILLED], os.environ | {"PYTHONPATH": source}
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
        assert done.returncode == -9
        assert len(os.listdir(tmp_path)) == 5
        files._remove_stale.cache_clear()
        with files.folder_written_aside(tmp_path / "1") as aside:
            left = {os.path.basename(path) for path in (living, aside)}
            assert set(os.listdir(tmp_path)) == {".a.123.tmp.txt", ".notes.tmp", *left}
    assert {"1", "a.txt"} < set(os.listdir(tmp_path))


@pytest.mark.parametrize("how", ["no module", "no locks"])
def test_without_locks_files_are_written_and_nothing_is_removed(tmp_path, monkeypatch, how):
    def refuse(*_):
        raise OSError(37, "No locks available")

    if how == "no module":
        monkeypatch.setattr(locks, "fcntl", None)
    else:
        monkeypatch.setattr(locks.fcntl, "flock", refuse)
    old = tmp_path / f".a.{'0' * 16}.tmp"
    old.write_text("half")
    with files.written_aside(tmp_path / "a") as aside, open(aside, "w") as file:
        file.write("new")
    assert (tmp_path / "a").read_text() == "new" and old.exists()


def test_an_aside_that_is_taken_for_a_dead_one_is_made_again(tmp_path, monkeypatch):
    """Another process sees it before it is locked."""
    opened, seen = locks.open_locked, []

    def late(path, flags):
        seen.append(path)
        if len(seen) == 1:
            os.remove(path)
        descriptor = opened(path, flags)
        if len(seen) == 2:
            os.remove(path)
        return descriptor

    monkeypatch.setattr(locks, "open_locked", late)
    with contextlib.suppress(KeyError), files.written_aside(tmp_path / "a") as aside:
        assert seen[2:] == [aside] and os.listdir(tmp_path) == [os.path.basename(aside)]
        raise KeyError
    assert os.listdir(tmp_path) == []

"""Files and folders that are whole or absent: written under another name, then renamed.

The other name, the *aside*, is hidden and unique: process ids repeat in containers. A killed
process leaves its aside behind. The next process that writes into the same folder removes it.
"""

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil

from oasis_tf.io import locks
from oasis_tf.io.write_errors import SHOWN, explained

_ASIDE = re.compile(r"\..*\.[0-9a-f]{16}\.tmp(\.[^.]*)?", re.DOTALL)


def _naming_its_path(manager):
    """Errors of writing, in the block too, name the path, the reason and what to do."""

    @functools.wraps(manager)
    @contextlib.contextmanager
    def named(path):
        with explained(path), manager(path) as aside:
            yield aside

    return named


@_naming_its_path
@contextlib.contextmanager
def written_aside(path):
    """Yields a path to write to. If the block does not raise, that file is renamed to `path`.

    The new path is in the same folder, which is created if needed, and has the same suffix; the
    file is there and empty. If the block raises, it is removed and `path` stays unchanged.

    Raises:
        NotWritten: the folder or the file cannot be written; also for errors of libraries.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    with _aside(folder, *os.path.splitext(name), _make_file, os.O_RDWR) as aside:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)


@_naming_its_path
@contextlib.contextmanager
def folder_written_aside(path):
    """Yields a new folder to write into. If the block does not raise, it is renamed to `path`.

    Parent folders of `path` are created if needed. `path` itself must be empty or not exist. If the
    block raises, the new folder is removed.

    Raises:
        NotWritten: the folder cannot be written. OSError: `path` is not empty.
    """
    above, name = os.path.split(os.path.abspath(path))
    os.makedirs(above, exist_ok=True)
    with _aside(above, name, "", os.mkdir, os.O_RDONLY) as aside:
        yield aside
        os.rename(aside, path)


def unique_name(name, suffix=""):
    """A hidden name for what will be called `name`; no other call gives the same."""
    return f".{name[:SHOWN]}.{secrets.token_hex(8)}.tmp{suffix}"


@contextlib.contextmanager
def _aside(folder, name, suffix, make, flags):
    """Yields the path of an aside that is locked while its process lives."""
    _remove_stale(folder)
    aside, descriptor = _made(folder, name, suffix, make, flags)
    try:
        yield aside
    finally:
        _remove(aside)
        if descriptor is not None:
            os.close(descriptor)


def _made(folder, name, suffix, make, flags):
    """An aside and its lock. Before it is locked, another process may remove it: once more."""
    while True:
        aside = os.path.join(folder, unique_name(name, suffix))
        make(aside)
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            descriptor = locks.open_locked(aside, flags)
            if descriptor is None or locks.is_open_file(descriptor, aside):
                return aside, descriptor
            os.close(descriptor)


@functools.cache  # once in a process: a folder may get very many files
def _remove_stale(folder):
    """Removes the asides of dead processes.

    Those of living ones are locked. Where the file system has no locks, nothing is removed. Names
    of earlier releases, which did not lock, are not looked at.
    """
    with contextlib.suppress(OSError):
        for name in filter(_ASIDE.fullmatch, os.listdir(folder)):
            _remove_if_stale(os.path.join(folder, name))


def _remove_if_stale(aside):
    flags = os.O_RDONLY if os.path.isdir(aside) else os.O_RDWR
    with contextlib.suppress(OSError):
        descriptor = locks.open_locked(aside, flags)
        if descriptor is not None:
            _remove(aside)
            os.close(descriptor)


def _make_file(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


def file_sha256(path):
    """Returns the SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

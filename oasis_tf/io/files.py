"""Files and folders that are whole or absent: written under another name, then renamed."""

import contextlib
import functools
import hashlib
import os
import shutil

from oasis_tf.io.write_errors import explained


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

    The new path is in the same folder, which is created if needed, and has the same suffix. If the
    block raises, its file is removed and `path` stays unchanged.

    Raises:
        NotWritten: the folder or the file cannot be written; also for errors of libraries.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    stem, suffix = os.path.splitext(name)
    aside = os.path.join(folder, f".{stem}.{os.getpid()}.tmp{suffix}")
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(aside)


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
    aside = os.path.join(above, f".{name}.{os.getpid()}.tmp")
    os.makedirs(aside)
    try:
        yield aside
        os.rename(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def file_sha256(path):
    """Returns the SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

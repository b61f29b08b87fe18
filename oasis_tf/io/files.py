"""Files and folders that are whole or absent: written aside, beside their place, then renamed."""

import contextlib
import hashlib
import os
import shutil


@contextlib.contextmanager
def written_aside(path):
    """Gives a path to write to; `path` is replaced by what lies there when the block ends well.

    The folder of `path` is made when needed. The path given keeps the suffix of `path`. If the
    block raises, what it wrote is removed and `path` stays as it was.

    Raises:
        OSError: the folder or the file cannot be written.
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


@contextlib.contextmanager
def folder_written_aside(path):
    """Gives a new folder to write into; it becomes `path` when the block ends well.

    The folder above `path` is made when needed; `path` itself must not exist, or be empty. If the
    block raises, what it wrote is removed.

    Raises:
        OSError: the folder cannot be written, or `path` is not empty.
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
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

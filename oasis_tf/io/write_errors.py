"""Errors of writing as one message: the path, the reason, what to do."""

import contextlib
import errno
import os
import sys

_ELSEWHERE = ", or name another place"
REMEDIES = {
    errno.ENOSPC: "Make room there" + _ELSEWHERE,
    errno.EDQUOT: "Make room there" + _ELSEWHERE,
    errno.EFBIG: "Raise the limit on the size of a file (`ulimit -f`)" + _ELSEWHERE,
    errno.EACCES: "Make it writable" + _ELSEWHERE,
    errno.EPERM: "Make it writable" + _ELSEWHERE,
    errno.EROFS: "Name a place on a disk that can be written",
    errno.EIO: "Look after the disk" + _ELSEWHERE,
    errno.ENOTDIR: "A part of this path is a file: name another place",
    errno.EEXIST: "A part of this path is a file: name another place",
    errno.EISDIR: "This is a folder: name a file",
    errno.ENAMETOOLONG: "Choose shorter names",
}
SHOWN = 40  # characters of a name in that of its aside; file systems allow 255 bytes
# Of these the text is enough, where a library reports them by other exceptions than OSError.
_BY_TEXT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


class NotWritten(OSError):
    """Something that cannot be written; made of errno, reason and path as every OSError."""

    def __str__(self):
        remedy = REMEDIES.get(self.errno, "Name another place")
        return (
            f"Cannot write {self.filename}: {self.strerror}. {remedy}, then repeat the command; "
            "nothing was left there half-written."
        )


def not_written(path, number):
    """Returns the error of a path that cannot be written, for an errno."""
    return NotWritten(number, os.strerror(number), os.fspath(path))


@contextlib.contextmanager
def explained(path):
    """Raises `NotWritten` in the place of errors in writing `path` (and nothing else) in the block.

    Libraries report them as OSError, with or without the file aside that they wrote to, or as
    errors of their own with the system's text.
    """
    try:
        yield
    except Exception as error:
        number = _number(error, path)
        if number is None:
            raise
        raise not_written(path, number) from error


def _number(error, path):
    """The errno of an error in writing `path`; None for all other errors."""
    if isinstance(error, NotWritten):
        return error.errno if _is_aside(error.filename, path) else None
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if _is_own(error.filename, path) and error.errno in REMEDIES else None
    if isinstance(error, OSError) and isinstance(error.__cause__, OSError):
        # Explained with the name of a file aside, which the user does not know.
        stem = os.path.splitext(os.path.basename(os.path.abspath(path)))[0]
        aside = f"{os.sep}.{stem[:SHOWN]}"
        return _number(error.__cause__, path) if aside in str(error) else None
    tensorflow = sys.modules.get("tensorflow")
    libraries = (RuntimeError, *((tensorflow.errors.OpError,) if tensorflow else ()))
    # HDF5 quotes the system so; an OSError without errno is otherwise one that we have explained.
    if isinstance(error, libraries) or "error message = '" in str(error):
        return next((number for number in _BY_TEXT if os.strerror(number) in str(error)), None)
    return None


def _is_own(filename, path):
    """Whether the file of an error is `path`, a folder above it, or a file aside."""
    if filename is None or not isinstance(filename, (str, os.PathLike)):
        return True
    failed, wanted = os.path.abspath(filename), os.path.abspath(path)
    above = f"{wanted}{os.sep}".startswith(f"{failed.rstrip(os.sep)}{os.sep}")
    return above or _is_aside(failed, path)


def _is_aside(filename, path):
    """Whether a file is, or lies in, something hidden beside `path` that is to be renamed."""
    folder = os.path.dirname(os.path.abspath(path))
    first = os.path.relpath(os.path.abspath(filename), folder).split(os.sep)[0]
    return first.startswith(".") and ".tmp" in first


def check_writable(path):
    """Raises `NotWritten`, before any work, if `path` cannot be made, or changed."""
    place = os.path.abspath(path)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if place == os.path.abspath(path) and not os.path.isdir(place):
        place = os.path.dirname(place)  # a file to be replaced
    if not os.path.isdir(place):
        raise not_written(path, errno.ENOTDIR)
    if not os.access(place, os.W_OK | os.X_OK):
        raise not_written(path, errno.EACCES)

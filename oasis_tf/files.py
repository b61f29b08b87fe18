"""Files that are whole or absent: written aside in their own folder, then renamed."""

import contextlib
import os


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

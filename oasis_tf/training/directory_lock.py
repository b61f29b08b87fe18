"""One training in a model directory at a time."""

import contextlib
import os
import socket

from absl import logging

from oasis_tf.io import locks

NAME = ".training.lock"


class DirectoryLock:
    """The lock of a model directory, for the time of a ``with`` block in which it is taken.

    The kernel releases it when the process dies, whatever kills it. The file, which says who holds
    it, is removed at the end of the block.

    Args:
        model_dir: str.
    """

    def __init__(self, model_dir):
        self._model_dir = model_dir
        self._path = os.path.join(model_dir, NAME)
        self._taken, self._descriptor = False, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.remove(self._path)
            os.close(self._descriptor)
        self._taken, self._descriptor = False, None

    def take(self):
        """Takes the lock, unless it was taken before. Makes the directory if needed.

        Where the file system has no locks, a warning says so, and nothing is locked.

        Raises:
            ValueError: another process trains here.
            OSError: the directory cannot be written.
        """
        if self._taken:
            return
        try:
            os.makedirs(self._model_dir, exist_ok=True)
            self._descriptor = self._opened()
            if self._descriptor is not None:
                os.truncate(self._descriptor, 0)
                holder = f"process {os.getpid()} on {socket.gethostname()}"
                os.write(self._descriptor, holder.encode())
        except BlockingIOError as error:
            raise ValueError(
                f"{self._model_dir} is being trained by {self._holder()}. Wait for its end or "
                "stop it, or use another --model_dir. Evaluating and generating need no waiting."
            ) from error
        except OSError as error:
            raise OSError(
                f"Cannot write {self._path}: {error.strerror or error}. Make room or mend the "
                "permissions there, or use another --model_dir."
            ) from error
        self._taken = True
        if self._descriptor is None:
            logging.warning(
                "%s cannot be locked: its file system has no locks. See to it that no second "
                "training uses it at the same time.",
                self._model_dir,
            )

    def _opened(self):
        while True:
            descriptor = locks.open_locked(self._path, os.O_RDWR | os.O_CREAT)
            if descriptor is None or locks.is_open_file(descriptor, self._path):
                return descriptor
            os.close(descriptor)  # the training before removed it: a new one

    def _holder(self):
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                return file.read() or "another process"
        except OSError:
            return "another process"

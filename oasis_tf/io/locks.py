"""Locks on files and folders, which the kernel releases when the process that holds them dies."""

import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def open_locked(path, flags):
    """Opens a file or folder and locks it, until the descriptor is closed.

    Args:
        path: of the file or folder.
        flags: of `os.open`. (NFS locks only files that are open for writing.)

    Returns:
        the descriptor; None where the system or the file system has no locks.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: it cannot be opened.
    """
    if fcntl is None:
        return None
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # ENOLCK, ENOTSUP, ENOSYS, …
        os.close(descriptor)
        return None
    return descriptor


def is_open_file(descriptor, path):
    """Whether `path` is the file of a descriptor: it may have been removed before it was locked."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False

"""Finds the files of a folder and its subfolders, by one rule for every command."""

import heapq
import os

# Folders that systems make by themselves, beside the hidden ones (`.NAME`).
_OF_SYSTEMS = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")


def files_below(folder):
    """Returns the paths of all files in a folder and its subfolders, sorted part by part.

    Hidden files and folders are skipped, and folders that systems make by themselves. Links are
    followed, except those back to a folder that they lie in. Each real folder is searched once; one
    that can be reached in several ways has its real name, else that of the first link.

    Raises:
        OSError: a folder cannot be read.
    """
    found, searched = [], set()
    queue = [(False, os.fspath(folder), ())]  # real folders before links
    while queue:
        _, path, above = heapq.heappop(queue)
        real = os.path.realpath(path)
        if real in searched or any(_lies_in(other, real) for other in above):
            continue
        searched.add(real)
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in _OF_SYSTEMS:
                    continue
                link = entry.is_symlink()
                if os.path.isdir(entry.path) if link else entry.is_dir():
                    heapq.heappush(queue, (link, entry.path, (*above, real)))
                else:
                    found.append(entry.path)
    return sorted(found, key=lambda path: path.split(os.sep))


def _lies_in(path, folder):
    return os.path.commonpath([path, folder]) == folder

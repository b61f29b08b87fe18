"""Paths that users give: local ones, `~` for the home folder."""

import os
import re

_REMOTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # two letters or more: "C:/" is a drive
_PATTERN = re.compile(r"[\[\]*?]")


def local_path(path):
    """Returns a path with the home folder in the place of `~`.

    Args:
        path: str or path object.

    Returns:
        str.

    Raises:
        ValueError: an address such as `gs://…`, or `~NAME` of nobody.
    """
    text = os.fspath(path)
    scheme = _REMOTE.match(text)
    if scheme:
        raise ValueError(
            f"Paths must be local. Received: {text}, an address ({scheme[1]}:). Copy the files to "
            "this machine and the results back, or mount the storage as a folder and give that."
        )
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise ValueError(
            f"Paths must be local. Received: {text}, and no home folder is known for "
            f"{text.split(os.sep)[0]}. Give the whole path; a file that is called so is ./{text}."
        )
    return expanded


def check_no_pattern(path):
    """Raises ValueError if TensorFlow cannot take a path literally: for its own files it globs.

    Args:
        path: of a SavedModel that is to be written or read.
    """
    found = sorted(set(_PATTERN.findall(os.path.abspath(path))))
    if found:
        raise ValueError(
            f"The path of a SavedModel must be without [ ] * and ?, which TensorFlow takes for a "
            f"pattern. Received: {os.path.abspath(path)}, with {' '.join(found)}. Choose another "
            "folder, or rename the one that is called so."
        )

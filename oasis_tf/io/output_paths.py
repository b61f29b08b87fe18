"""Checks output files before any work starts, so that no file is replaced by accident."""

import os

from oasis_tf.io.write_errors import check_writable


def check_outputs(outputs, inputs, *, overwrite=False, skip_existing=False):
    """Refuses outputs that would replace each other, an input or an existing file.

    Args:
        outputs: paths to write.
        inputs: paths to read.
        overwrite: whether existing files may be replaced.
        skip_existing: whether existing files are kept and not written.

    Raises:
        ValueError: two files have the same path, or files exist.
        NotWritten: a folder cannot be made, or nothing can be written into it.
    """
    if overwrite and skip_existing:
        raise ValueError(
            "--overwrite replaces files that exist, --skip_existing keeps them. Give one."
        )
    seen = {os.path.realpath(path) for path in inputs}
    for path in outputs:
        place = os.path.realpath(path)
        if place in seen:
            raise ValueError(
                f"Two outputs, or an output and an input, have the same path: {place}. "
                "Choose another output folder, contact sheet or name."
            )
        seen.add(place)
    existing = [path for path in outputs if os.path.exists(path)]
    if existing and not (overwrite or skip_existing):
        raise ValueError(
            f"{len(existing)} of {len(outputs)} output files exist, the first: {existing[0]}. "
            "Nothing was written. Choose another folder, replace them with --overwrite, or write "
            "only what is missing with --skip_existing."
        )
    for folder in sorted({os.path.dirname(os.path.abspath(path)) for path in outputs}):
        check_writable(folder)


def check_folder(path):
    """Checks the folder of the outputs.

    Raises:
        NotADirectoryError: it is a file.
        NotWritten: it cannot be made, or nothing can be written into it.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise NotADirectoryError(f"The output must be a folder. Received the file {path}")
    check_writable(path)


def check_new_folder(path):
    """Checks a model directory that is to be written.

    Raises:
        FileExistsError: it is neither new nor empty.
        NotWritten: it cannot be made, or nothing can be written into it.
    """
    if os.path.lexists(path) and (not os.path.isdir(path) or os.listdir(path)):
        raise FileExistsError(
            f"The model directory must be new or empty. Received: {path}, which is neither. Give "
            "another one."
        )
    check_writable(path)

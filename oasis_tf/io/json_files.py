"""JSON files that notice damage: an entry `digest` says what the rest must be.

The digest is of the values, so layout and order may change. A file without one (of an earlier
release, or edited by hand) is taken as it is; who reads it checks its form.
"""

import hashlib
import json

from absl import logging

from oasis_tf.io import files

KEY = "digest"
_LENGTH = 16  # hexadecimal digits


def digest(contents):
    """The digest of a dict ready for JSON: of the values that will be read again."""
    as_read = json.loads(json.dumps(contents))
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()[:_LENGTH]


def sealed(contents):
    """A dict with its digest, which comes first: in a file, its line can be deleted."""
    return {KEY: digest(contents)} | contents


def as_text(contents, **options):
    """The text of a file: a dict with its digest; `options` are those of `json.dumps`."""
    return json.dumps(sealed(contents), **options) + "\n"


def loads(text):
    """The contents of JSON text (str or bytes), without their digest.

    Raises:
        ValueError: not JSON, or not what the digest says. The message says what is wrong with
            "it", the file.
    """
    try:
        contents = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error}).") from error
    if not isinstance(contents, dict):
        return contents
    for key in [KEY] if KEY in contents else _like_a_digest(contents):
        rest = {name: value for name, value in contents.items() if name != key}
        fits = digest(rest) == contents[key]
        if key == KEY and fits:
            return rest
        if key == KEY or fits:
            raise ValueError(
                f"its contents do not have the digest that it states. Restore it from a copy; if "
                f'it was edited by hand, delete its entry "{key}" to accept that.'
            )
    return contents


def _like_a_digest(contents):
    """Keys that may have been `digest` before they were damaged."""
    return [k for k, v in contents.items() if isinstance(v, str) and len(v) == _LENGTH]


def read(path):
    """The contents of a file, without their digest.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged; the message names it.
    """
    with open(path, "rb") as file:
        text = file.read()
    try:
        return loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def write(path, contents, **options):
    """Writes a dict with its digest; the file is whole or as it was.

    Args:
        path: the file.
        contents: dict ready for JSON.
        **options: of `json.dumps`.

    Raises:
        ValueError: `options` forbid a value.
        OSError: the file cannot be written.
    """
    with files.written_aside(path) as aside, open(aside, "w", encoding="utf-8") as file:
        file.write(as_text(contents, **options))


def read_lines(path, check):
    """Pairs of the text (bytes) and the contents of every line of a file of JSON lines.

    A line that is damaged is left out, with a warning that names file and line. One that lacks its
    end was being written when a process was killed, and is left out without.

    Args:
        path: the file.
        check: function that raises ValueError for contents that are no line of this file.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")[:-1]
    found = []
    for number, text in enumerate(lines, 1):
        try:
            contents = loads(text)
            check(contents)
            found.append((text + b"\n", contents))
        except ValueError as error:
            logging.warning("%s, line %d is damaged and left out: %s", path, number, error)
    return found

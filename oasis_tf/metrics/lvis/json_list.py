"""Long JSON lists, read entry by entry, so that a file of gigabytes needs no memory."""

import json
import re
from collections.abc import Iterator
from typing import TextIO

_decode = json.JSONDecoder().raw_decode
_skip_space = re.compile(r"[ \t\n\r]*").match
_CHUNK = 1 << 24


def stream_list(path: str) -> Iterator:
    """Yields the entries of the list that a JSON file holds.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON, no list, or an entry has more than 16 million characters. What
            comes before the damage has been yielded then; what follows the list is not read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            yield from _entries(file)
    except ValueError as error:  # also of text that is not UTF-8
        raise ValueError(f"{path} is not a JSON list ({error}).") from error


def _entries(file: TextIO) -> Iterator:
    text = file.read(_CHUNK).lstrip()
    if not text.startswith("["):
        raise ValueError(f"it starts with {text[:10]!r}")
    position = 1
    if text[1:].lstrip().startswith("]"):
        return
    while True:
        try:
            entry, separator, end = _entry_at(text, position)
        except ValueError:  # wrong, or the piece ends within the entry
            more = position and file.read(_CHUNK)  # at 0, a whole piece was not enough
            if not more:
                raise
            text, position = text[position:] + more, 0
            continue
        yield entry
        if separator == "]":
            return
        position = end


def _entry_at(text: str, position: int) -> tuple:
    entry, end = _decode(text, _skip_space(text, position).end())
    end = _skip_space(text, end).end()
    if text[end : end + 1] not in (",", "]"):
        raise ValueError(f"{text[end : end + 10]!r} after an entry")
    return entry, text[end], end + 1

"""Progress of long work: a bar on a terminal, plain lines in a log."""

import sys

import tqdm

LOG_INTERVAL_SEC = 10
_LINE = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"


def progress_bar(total, unit, description):
    """Returns a `tqdm` bar on standard error; without a terminal, a line every ten seconds.

    Args:
        total: number of items.
        unit: name of an item.
        description: name of the work, one word.
    """
    common = {"total": total, "unit": f" {unit}", "desc": description}
    if sys.stderr.isatty():
        return tqdm.tqdm(**common, dynamic_ncols=True)
    return tqdm.tqdm(
        **common, file=_Lines(sys.stderr), mininterval=LOG_INTERVAL_SEC, bar_format=_LINE
    )


class _Lines:
    """Writes every state of a `tqdm` bar on a new line."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        text = text.strip("\r\n ")
        if text:
            self._stream.write(f"{text}\n")

    def flush(self):
        self._stream.flush()

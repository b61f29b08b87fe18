"""Progress of long work: a bar on a terminal, plain lines in a log."""

import sys

import tqdm

LOG_INTERVAL_SEC = 10
_LINE = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"


def progress_bar(total, unit, description):
    """A `tqdm` bar on standard error; where that is no terminal, a line every ten seconds.

    Args:
        total: number of things to do.
        unit: what one of them is called.
        description: what is being done, one word.
    """
    common = {"total": total, "unit": f" {unit}", "desc": description}
    if sys.stderr.isatty():
        return tqdm.tqdm(**common, dynamic_ncols=True)
    return tqdm.tqdm(
        **common, file=_Lines(sys.stderr), mininterval=LOG_INTERVAL_SEC, bar_format=_LINE
    )


class _Lines:
    """Ends what `tqdm` would overwrite with a new line instead."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        text = text.strip("\r\n ")
        if text:
            self._stream.write(f"{text}\n")

    def flush(self):
        self._stream.flush()

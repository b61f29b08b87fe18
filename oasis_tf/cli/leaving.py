"""How a command ends: at once when it is done, without waiting for TensorFlow to tidy up.

What TensorFlow holds (threads of input pipelines, graphs, buffers) is given back one by one when
the interpreter ends, for seconds to half a minute. The operating system does it at once. Everything
that is to be kept is written and closed by then; functions registered with `atexit` have run, and
standard output and error are flushed. The exit code is what it would have been.
"""

import atexit
import contextlib
import logging
import os
import sys
from collections.abc import Iterator

_FLUSH_FAILED = 120  # exit code of the interpreter when standard output cannot be flushed
_state = {"code": 0, "tidily": False}


def tidily() -> None:
    """Has this process end as the interpreter does: other processes wait for its good-bye."""
    _state["tidily"] = True


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Has the process end at once after the block, which runs a command, if TensorFlow is loaded.

    Exceptions pass, `SystemExit` among them.
    """
    # What is registered first runs last: after the good-byes of libraries.
    atexit.register(_leave)
    try:
        yield
    except SystemExit as end:
        _state["code"] = _exit_code(end.code)
        raise
    except BaseException:
        _state["code"] = 1
        raise


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1  # of a text, which is printed


def _leave() -> None:
    if _state["tidily"] or "tensorflow" not in sys.modules:
        return
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _state["code"] = _FLUSH_FAILED
    os._exit(_state["code"])

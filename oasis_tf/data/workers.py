"""Worker processes that read, check and encode examples.

Nothing here imports TensorFlow: workers import this module, and TensorFlow would cost each of
them seconds and hundreds of megabytes.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool

from oasis_tf.data.datasets import LabelSpace
from oasis_tf.data.examples import EncodedExample, Source

_label_space: LabelSpace | None = None  # of this worker process


@contextlib.contextmanager
def pool(count: int, label_space: LabelSpace) -> Iterator[Callable]:
    """Yields an ordered, bounded, lazy `map(function, items)` over `count` processes.

    With a count of 1, this process does the work. Functions and items must not be of the main
    script, since workers do not import it: it may have no main guard, or be no file.

    Raises:
        OSError: a worker was killed.
    """
    if count == 1:
        _start_worker(label_space, watch_parent=False)
        yield map
        return
    # Never a plain fork: this process has TensorFlow's threads. A fork server (if the system has
    # one) imports the few modules once, then starts each worker in milliseconds.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])
    executor = concurrent.futures.ProcessPoolExecutor(
        count, context, initializer=_start_worker, initargs=(label_space,)
    )
    try:
        yield lambda function, items: _ordered_map(executor, function, items, 3 * count)
    except BrokenProcessPool as error:
        raise OSError(
            "A worker process was killed (often for lack of memory). Lower --num_workers and run "
            "the same command again: finished shards are kept."
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _ordered_map(executor, function: Callable, items: Iterable, under_way: int) -> Iterator:
    pending = deque()
    for item in items:
        with _without_main():  # here workers are started
            pending.append(executor.submit(function, item))
        if len(pending) >= under_way:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Processes that are started here do not import the main script."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _start_worker(label_space: LabelSpace, watch_parent: bool = True) -> None:
    global _label_space
    _label_space = label_space
    if watch_parent:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process stops the workers
        threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Ends this worker when the main process ends, even if that was killed."""
    multiprocessing.parent_process().join()
    os._exit(1)


def check(sources: Sequence[Source]) -> list[list[ValueError]]:
    """Returns all that is wrong with each example (see `Source.check`). Call it through `pool`."""
    return [source.check(_label_space) for source in sources]


def encode(sources: Sequence[Source]) -> list[EncodedExample]:
    """Encodes examples (see `Source.encode`). Call it through `pool`."""
    return [source.encode(_label_space) for source in sources]

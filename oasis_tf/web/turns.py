"""Order and bounds of requests: whose turn it is, how much anybody may take, a limited rate."""

import asyncio
import collections
import contextlib
import dataclasses
import functools
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Superseded(Exception):
    """A newer request of the same client waits, or the client has left."""


class Busy(Exception):
    """Too much is waiting already.

    Attributes:
        retry_after: whole seconds after which another try is worth it.
    """

    MOST_SECONDS = 30

    def __init__(self, seconds=0.0):
        super().__init__(seconds)
        self.retry_after = min(max(1, math.ceil(seconds / 2)), self.MOST_SECONDS)


@dataclasses.dataclass(eq=False)
class _Job:
    """Pieces of work of one request, and what became of them."""

    works: collections.deque
    address: str
    name: Any
    future: asyncio.Future
    results: list = dataclasses.field(default_factory=list)


class Turns:
    """Runs work one piece at a time on a thread, so that the event loop stays free.

    Addresses take turns, and at each address its clients. A client waits with one request: the
    newest, which keeps the place of those before it.

    Args:
        most_waiting: how many requests may wait; of one address, half as many.
        most_seconds: how long a request may have to wait, by what others took so far.
    """

    def __init__(self, most_waiting=512, most_seconds=45.0):
        self._most_waiting, self._most_seconds = most_waiting, most_seconds
        self._thread = ThreadPoolExecutor(1)
        self._lines = {}  # address -> {client -> job}; those first in order are next
        self._running = False
        self._seconds = 0.0  # of a piece of work, averaged

    async def run(self, works, address="", client=None):
        """Waits for its turns, then returns what each piece of work returned, a list.

        Every piece has a turn of its own, so that others do not wait for all of them. Whoever
        cancels this call gives up its place.

        Args:
            works: functions without arguments, at least one.
            address: where the request comes from.
            client: name of the client at that address; None for one that is like no other.

        Raises:
            Busy: too much waits already.
            Superseded: a newer request of the client waits.
            Exception: what a piece of work raises.
        """
        future = asyncio.get_running_loop().create_future()
        name = object() if client is None else client
        job = _Job(collections.deque(works), address, name, future)
        if name not in self._lines.get(address, {}):
            self._check_room(address)
        self._wait(job)
        self._next()
        try:
            return await future
        finally:
            self._leave(job)

    def _check_room(self, address):
        own = len(self._lines.get(address, {}))
        ahead = sum(min(len(line), own + 1) for line in self._lines.values())
        seconds = (ahead + self._running) * self._seconds
        waiting = sum(map(len, self._lines.values()))
        full = waiting >= self._most_waiting or own >= max(1, self._most_waiting // 2)
        if full or seconds > self._most_seconds:
            raise Busy(seconds)

    def _wait(self, job):
        line = self._lines.setdefault(job.address, {})
        older = line.get(job.name)
        if older is not None and not older.future.done():
            older.future.set_exception(Superseded())
        line[job.name] = job

    def _leave(self, job):
        line = self._lines.get(job.address, {})
        if line.get(job.name) is job:
            del line[job.name]
            if not line:
                del self._lines[job.address]

    def _next(self):
        if self._running or not self._lines:
            return
        address = next(iter(self._lines))
        line = self._lines.pop(address)
        job = line.pop(next(iter(line)))
        if line:
            self._lines[address] = line  # at the end
        self._running = True
        work = asyncio.get_running_loop().run_in_executor(self._thread, job.works.popleft())
        work.add_done_callback(functools.partial(self._done, job, time.monotonic()))

    def _done(self, job, start, work):
        self._running = False
        seconds = time.monotonic() - start
        self._seconds = 0.8 * self._seconds + 0.2 * seconds if self._seconds else seconds
        error = work.exception()
        if not job.future.done():  # else the client has left
            if error is not None:
                job.future.set_exception(error)
            else:
                self._go_on(job, work.result())
        self._next()

    def _go_on(self, job, result):
        job.results.append(result)
        if not job.works:
            job.future.set_result(job.results)
        elif job.name in self._lines.get(job.address, {}):
            job.future.set_exception(Superseded())
        else:
            self._wait(job)


class Shares:
    """How much of something is in use: in all, and by each address at most half of it."""

    def __init__(self, most):
        self._most = most
        self._taken = collections.Counter()

    @contextlib.contextmanager
    def part(self, address):
        """Gives a function that takes an amount, or raises `Busy`; all of it is given back."""
        own = 0

        def take(amount):
            nonlocal own
            each = self._taken[address] + amount
            if each > self._most // 2 or self._taken.total() + amount > self._most:
                raise Busy
            self._taken[address] = each
            own += amount

        try:
            yield take
        finally:
            self._taken[address] -= own
            if not self._taken[address]:
                del self._taken[address]


class RateLimit:
    """Token buckets, one for each of the addresses seen last.

    Args:
        per_second: tokens that come back.
        burst: most tokens, and how many there are at first.
        clock: function that gives seconds.
    """

    MOST_ADDRESSES = 1024

    def __init__(self, per_second, burst, clock=time.monotonic):
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets = collections.OrderedDict()

    def allows(self, address):
        """Takes a token of an address; False if none is left."""
        now = self._clock()
        tokens, then = self._buckets.pop(address, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        allowed = tokens >= 1
        self._buckets[address] = (tokens - allowed, now)
        if len(self._buckets) > self.MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return allowed

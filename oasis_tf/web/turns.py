"""Order and rate of requests: one piece of work at a time, a client's newest, a limited rate."""

import asyncio
import collections
import time
from concurrent.futures import ThreadPoolExecutor


class Superseded(Exception):
    """A newer request of the same client waits, or the client has left."""


class Busy(Exception):
    """Too many requests wait already."""


class Turns:
    """Runs work one piece at a time on a thread, so that the event loop stays free.

    Args:
        most_waiting: how many pieces may wait.
    """

    def __init__(self, most_waiting=16):
        self._most_waiting = most_waiting
        self._thread = ThreadPoolExecutor(1)
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._newest = {}

    async def run(self, work, client=None, abandoned=None):
        """Waits for its turn, then returns `work()`.

        Args:
            work: function without arguments.
            client: name of the client. Of the pieces of one client that wait, only the newest
                runs; pieces of the client None all run.
            abandoned: coroutine function, called when the turn comes: whether the client has left.

        Raises:
            Busy: too many wait.
            Superseded: a newer piece of the client waits, or the client has left.
            Exception: what `work` raises.
        """
        if self._waiting >= self._most_waiting:
            raise Busy
        ticket = object()
        if client is not None:
            self._newest[client] = ticket
        try:
            await self._turn()
            try:
                if client is not None and self._newest[client] is not ticket:
                    raise Superseded
                if abandoned is not None and await abandoned():
                    raise Superseded
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
            finally:
                self._lock.release()
        finally:
            if client is not None and self._newest.get(client) is ticket:
                del self._newest[client]

    async def _turn(self):
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1


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

"""Connections of a server: bounded in number and in time, so that nobody keeps others out.

uvicorn waits for the rest of a request as long as it takes, and lets whoever came first stay.
"""

import collections
import logging
import time

from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ImportError:  # not a POSIX system
    resource = None

MOST = 512
WAIT_SECONDS = 15  # for a whole head, from the connection or the answer before
SEND_SECONDS = 60  # until a client takes what was sent

LOGGER = logging.getLogger("uvicorn.error")


def most_connections():
    """`MOST`, or less where this process may open few files."""
    if resource is None:
        return MOST
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if limit == resource.RLIM_INFINITY else max(2, min(MOST, limit // 2))


class Places:
    """Which connections there are: at most so many, of one address half of them.

    Who finds all places taken gets that of a connection whose client is to act (it is silent, or
    sent a part of a request): of the address with most, the one that waits longest.

    Args:
        most: most connections.
    """

    def __init__(self, most):
        self._most = most
        self._addresses = {}  # of connections
        self._counts = collections.Counter()

    def enter(self, connection, address):
        """Whether the connection has a place; another one may be ended for it."""
        full = self._counts[address] >= self._most // 2
        if full or len(self._addresses) >= self._most:
            LOGGER.warning("More connections than may be: those that wait longest are ended.")
            among = [
                other
                for other, of in self._addresses.items()
                if other.waits and (of == address or not full)
            ]
            if not among:
                return False
            most = max(self._counts[self._addresses[other]] for other in among)
            busiest = (c for c in among if self._counts[self._addresses[c]] == most)
            min(busiest, key=lambda other: other.since).end()
        self._addresses[connection] = address
        self._counts[address] += 1
        return True

    def leave(self, connection):
        """Frees the place of a connection, if it has one."""
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]


class Connection(H11Protocol):
    """uvicorn's connection; it ends if its client is silent, slow or does not read.

    Args:
        places: `Places` that all connections of the server share.

    Attributes:
        since: when the wait for the client began, seconds.
    """

    def __init__(self, *args, places, **options):
        super().__init__(*args, **options)
        self._places = places
        self._head_timer = self._send_timer = None
        self.since = self.loop.time()

    @property
    def waits(self):
        """Whether the client is to act: to send a request, or the rest of one."""
        return self._is_between() or self.cycle.more_body

    def _is_between(self):
        return self.cycle is None or self.cycle.response_complete

    def end(self):
        """Ends the connection at once."""
        self._places.leave(self)
        self.transport.abort()

    def connection_made(self, transport):
        super().connection_made(transport)
        if self._places.enter(self, (self.client or ("",))[0]):
            self._expect_request()
        else:
            self.end()

    def connection_lost(self, exc):
        self._places.leave(self)
        for timer in (self._head_timer, self._send_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self):
        super().on_response_complete()
        self._expect_request()

    def _expect_request(self):
        if self._head_timer is not None:
            self._head_timer.cancel()
        self.since = self.loop.time()
        self._head_timer = self.loop.call_later(WAIT_SECONDS, self._end_if_between)

    def _end_if_between(self):
        if self._is_between():
            self.end()

    def pause_writing(self):
        super().pause_writing()
        self._send_timer = self.loop.call_later(SEND_SECONDS, self.end)

    def resume_writing(self):
        super().resume_writing()
        if self._send_timer is not None:
            self._send_timer.cancel()


class OneOfAKind(logging.Filter):
    """Lets one of the messages that are alike pass in a time, with how many were left out.

    Args:
        seconds: that time.
        clock: function that gives seconds.
    """

    def __init__(self, seconds=60.0, clock=time.monotonic):
        super().__init__()
        self._seconds, self._clock = seconds, clock
        self._kinds = {}  # -> [time of the last that passed, how many did not since then]

    def filter(self, record):
        first_line = str(record.msg).strip().split("\n", 1)[0]
        kind = first_line, record.exc_info[0] if record.exc_info else None
        now = self._clock()
        seen = self._kinds.setdefault(kind, [now - self._seconds, 0])
        if now - seen[0] < self._seconds:
            seen[1] += 1
            return False
        if seen[1]:
            record.msg = f"{record.msg} ({seen[1]} more like it before)"
        seen[:] = now, 0
        return True

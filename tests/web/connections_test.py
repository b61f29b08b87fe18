"""Connections of a real server: who is silent, slow or many keeps nobody out."""

import contextlib
import logging
import socket
import threading

import pytest

pytest.importorskip("starlette", reason="the demo's extra is not installed")
pytest.importorskip("uvicorn", reason="the demo's extra is not installed")

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from oasis_tf.web import connections, requests, server
from oasis_tf.web.predictions import Predictions
from tests.web.toy import Toy

WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
LARGE = b"x" * 2**24
GIVE_UP = 20  # seconds; what is right takes less than one


async def home(request):
    return PlainTextResponse("home")


async def large(request):
    return PlainTextResponse(LARGE)


@contextlib.contextmanager
def served():
    """The address of a server in a thread."""
    routes = [*Predictions("toy", Toy()).routes(), Route("/", home), Route("/large", large)]
    app, servers = server.application(routes, "127.0.0.1"), []
    patch = pytest.MonkeyPatch()
    run = uvicorn.Server.run
    patch.setattr(uvicorn.Server, "run", lambda self, **o: (servers.append(self), run(self, **o)))
    with server.listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.serve, args=(app, listening))
        thread.start()
        yield listening.getsockname()
        servers[0].should_exit = True
        thread.join(GIVE_UP)
    patch.undo()


def opened(address, sent=b""):
    connection = socket.create_connection(address, timeout=GIVE_UP)
    connection.sendall(sent)
    return connection


def answer(connection):
    """What comes until the server ends the connection, or says `home`."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while not received.endswith(b"home") and (part := connection.recv(2**16)):
            received += part
    return received


def is_ended(connection):
    return b"200 OK" not in answer(connection)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(connections, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr(connections, "SEND_SECONDS", 0.3)
    monkeypatch.setattr(requests, "READ_SECONDS", 0.3)


def test_silent_and_slow_connections_are_ended(impatient):
    with served() as address:
        after_an_answer = opened(address, WHOLE)
        assert answer(after_an_answer).endswith(b"home")
        after_an_answer.sendall(WHOLE[:9])
        assert is_ended(opened(address))
        assert is_ended(opened(address, WHOLE[:9]))
        assert is_ended(after_an_answer)
        late = answer(opened(address, POST + b"{"))
        assert b"408" in late and b"took longer than" in late


def test_who_does_not_read_is_ended(impatient):
    with served() as address:
        lazy = opened(address, WHOLE.replace(b"/ ", b"/large "))
        threading.Event().wait(1)
        assert len(answer(lazy)) < len(LARGE)


@pytest.fixture
def told(monkeypatch):
    """What the server logs; uvicorn replaces handlers."""
    lines = []
    log = lambda record: lines.append(record.getMessage())  # noqa: E731
    monkeypatch.setattr(connections.LOGGER, "callHandlers", log)
    return lines


def test_silent_ones_give_their_places_to_others(monkeypatch, told):
    monkeypatch.setattr(connections, "MOST", 8)  # of one address 4
    with served() as address:
        crowd = [opened(address, sent) for sent in (b"", WHOLE[:9], POST, POST + b"{")]
        visitors = [opened(address) for _ in range(20)]
        for connection in (*crowd, *visitors[:-4]):
            assert is_ended(connection)
        for visitor in visitors[-4:]:
            visitor.sendall(WHOLE)
            assert answer(visitor).endswith(b"home")
    assert len([line for line in told if "More connections" in line]) == 1


class Somebody:
    """A connection as `Places` sees it."""

    def __init__(self, places, since=0, waits=True):
        self.places, self.since, self.waits, self.ended = places, since, waits, False

    def end(self):
        self.ended = True
        self.places.leave(self)


def test_places():
    places = connections.Places(4)
    one, two, other = (Somebody(places, since) for since in (2, 1, 0))
    assert places.enter(one, "x") and places.enter(two, "x") and places.enter(other, "y")
    # An address with half of the places ends one of its own, that which waits longest.
    three = Somebody(places, 3, waits=False)
    assert places.enter(three, "x")
    assert (one.ended, two.ended, other.ended) == (False, True, False)
    one.waits = False
    assert not places.enter(Somebody(places), "x")  # both are at work
    assert places.enter(Somebody(places, 4), "z")
    # All are taken: of those that wait, one of the busiest address goes; here all have one.
    assert places.enter(Somebody(places, 5), "v")
    assert other.ended


def test_few_files(monkeypatch):
    resource = pytest.importorskip("resource")
    for limit, want in [(resource.RLIM_INFINITY, 512), (4096, 512), (256, 128), (2, 2)]:
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert connections.most_connections() == want


def test_one_line_of_log_for_many_that_are_alike():
    now, passed = 0.0, []
    logger = logging.Logger("test")
    logger.addFilter(connections.OneOfAKind(60, clock=lambda: now))
    handler = logging.Handler()
    handler.emit = lambda record: passed.append(record.getMessage())
    logger.addHandler(handler)
    for k in range(1000):
        logger.warning("Invalid request")
        logger.warning("Cannot accept\nsocket %d", k)
    now = 61.0
    logger.warning("Invalid request")
    assert passed == [
        "Invalid request",
        "Cannot accept\nsocket 0",
        "Invalid request (999 more like it before)",
    ]

"""An HTTP server for demos: bounds, failures as JSON, listening.

Nothing is kept between requests but the model. Every input is bounded: size and time of a request,
pixels of a picture, connections and what they may hold, requests per second. Failures are
`{"error": "…"}`; the stack trace of a defect goes to the log alone. Importing this module needs
Starlette and uvicorn (extra `demo`).
"""

import contextlib
import functools
import ipaddress
import logging
import socket

from oasis_tf.web.serving import Unavailable
from oasis_tf.web.turns import Busy, Shares, Superseded

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.responses import JSONResponse

    from oasis_tf.web import connections, requests
    from oasis_tf.web.guard import Guard
except ImportError as error:
    raise ValueError('The demo needs Starlette and uvicorn: pip install "oasis-tf[demo]".') from (
        error
    )

LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
WARNING = (
    "WARNING: others can reach this address. The demo has no passwords and no encryption. To share "
    "it, leave out --host and put a server that has them before it, see --public_url."
)
_LISTEN_BACKLOG = 128


def application(routes, host=None, public=None):
    """A guarded Starlette application whose failures are JSON.

    Args:
        routes: Starlette's routes of a demo.
        host: where it listens; on loopback it answers to the names of loopback alone, and to that
            of `public`.
        public: `PublicUrl` of the proxy before it, or None.
    """
    names = None
    if host and is_loopback(host):
        names = LOOPBACK_NAMES | {host} | ({public.host} if public else set())
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, names=names, public=public)],
        exception_handlers={
            HTTPException: lambda _, error: _failure(
                error.status_code, error.detail, error.headers
            ),
            ValueError: lambda _, error: _failure(400, str(error)),
            Superseded: lambda *_: _failure(409, "A newer request took its place."),
            Unavailable: lambda _, error: _failure(error.status, str(error)),
            Busy: _busy,
            Exception: lambda *_: _failure(500, "The server failed; its log says why."),
        },
    )
    app.state.bodies = Shares(requests.MOST_BYTES)
    return app


def _busy(_, error):
    seconds = error.retry_after
    message = f"The server is busy. Try again in {seconds} s."
    return _failure(503, message, {"Retry-After": str(seconds)})


def _failure(status, message, headers=None):
    return JSONResponse({"error": message}, status_code=status, headers=headers)


# === Listening ===


def is_loopback(host):
    """Whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host, port):
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: the address cannot be had; says so.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. "
            "Choose another --host or --port."
        ) from error


def address(listening, public=None):
    """What to open in a browser, a line, and another one if there is a public address."""
    host, port = listening.getsockname()[:2]
    own = f"Demo: http://{f'[{host}]' if ':' in host else host}:{port}"
    return own if public is None else f"{own}\nVisitors: {public}"


def serve(app, listening):
    """Answers on a listening socket until interrupted."""
    places = connections.Places(connections.most_connections())
    config = uvicorn.Config(
        app,
        http=functools.partial(connections.Connection, places=places),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # clients must not choose the address that is counted
        backlog=_LISTEN_BACKLOG,  # so many are accepted at once, beyond the places
        timeout_keep_alive=connections.WAIT_SECONDS,
        timeout_graceful_shutdown=2,
        lifespan="off",
        ws="none",
    )
    one_line, loggers = (
        connections.OneOfAKind(),
        map(logging.getLogger, ("uvicorn.error", "asyncio")),
    )
    with contextlib.ExitStack() as stack:
        for logger in loggers:
            logger.addFilter(one_line)
            stack.callback(logger.removeFilter, one_line)
        uvicorn.Server(config).run(sockets=[listening])

"""An HTTP server for demos: bounds, failures as JSON, listening.

Nothing is kept between requests but the model. Every input is bounded: size and time of a request,
pixels of a picture, requests in progress and per second. Failures are `{"error": "…"}`; the stack
trace of a defect goes to the log alone. Importing this module needs Starlette and uvicorn (extra
`demo`).
"""

import asyncio
import ipaddress
import socket

from oasis_tf.web.serving import Unavailable
from oasis_tf.web.turns import Busy, Superseded

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse

    from oasis_tf.web.guard import Guard
except ImportError as error:
    raise ValueError('The demo needs Starlette and uvicorn: pip install "oasis-tf[demo]".') from (
        error
    )

MAX_REQUEST = 2**23  # bytes
MAX_UPLOAD = 25 * 2**20
READ_SECONDS = 30
LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
WARNING = (
    "WARNING: others can reach this address. The demo has no passwords and no encryption; put a "
    "server that has them before it, or leave out --host."
)
_MOST_CONNECTIONS = 128


async def read_body(request, limit):
    """The bytes of a Starlette request.

    Raises:
        HTTPException: more than `limit` bytes, announced or not, more than `READ_SECONDS`, or the
            request ended early.
    """
    too_large = HTTPException(413, f"A request may have {limit / 2**20:g} MB at most.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    received = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for part in request.stream():
                received += part
                if len(received) > limit:
                    raise too_large
    except TimeoutError as error:
        raise HTTPException(408, f"The request took longer than {READ_SECONDS} s.") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The request ended early.") from error
    return bytes(received)


def application(routes, host=None):
    """A guarded Starlette application whose failures are JSON.

    Args:
        routes: Starlette's routes of a demo.
        host: where it listens; on loopback it answers to the names of loopback alone.
    """
    names = LOOPBACK_NAMES | {host} if host and is_loopback(host) else None
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, names=names)],
        exception_handlers={
            HTTPException: lambda request, error: _failure(error.status_code, error.detail),
            ValueError: lambda request, error: _failure(400, str(error)),
            Superseded: lambda request, error: _failure(409, "A newer request took its place."),
            Unavailable: lambda request, error: _failure(error.status, str(error)),
            Busy: lambda request, error: _failure(503, "The server is busy. Try again shortly."),
            Exception: lambda request, error: _failure(500, "The server failed; its log says why."),
        },
    )


def _failure(status, message):
    return JSONResponse({"error": message}, status_code=status)


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


def address(listening):
    """What to open in a browser, a line."""
    host, port = listening.getsockname()[:2]
    return f"Demo: http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(app, listening):
    """Answers on a listening socket until interrupted."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # clients must not choose the address that is counted
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
        lifespan="off",
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listening])

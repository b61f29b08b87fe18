"""The demo's HTTP server: a static page, TensorFlow Serving's REST form, files that are handed in.

Predictions come from a model that is here, or from TensorFlow Serving; then the page and the files
still come from here, so that nothing needs to be asked of other hosts.
Nothing is kept between requests but the model: what a visitor paints lives in the page. Every input
is bounded: size and time of a request, pixels of a picture, requests in flight and for each second.
Failures are `{"error": "…"}`; the stack trace of a defect goes to the log alone. Importing this
module needs Starlette and uvicorn (extra `demo`).
"""

import asyncio
import functools
import ipaddress
import socket
import time

from oasis_tf.systems.oasis.demo import contract, uploads
from oasis_tf.web import rest
from oasis_tf.web.pictures import encode_png
from oasis_tf.web.serving import Unavailable
from oasis_tf.web.turns import Busy, Superseded, Turns

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    from oasis_tf.web.guard import Guard
except ImportError as error:
    raise ValueError('The demo needs Starlette and uvicorn: pip install "oasis-tf[demo]".') from (
        error
    )

MODEL_NAME = "oasis"
MAX_REQUEST = 2**23  # bytes
MAX_UPLOAD = 25 * 2**20
READ_SECONDS = 30
LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
WARNING = (
    "WARNING: others can reach this address. The demo has no passwords and no encryption; put it "
    "behind a server that has, or leave out --host."
)
_MOST_CONNECTIONS = 128
_CLIENT_HEADER, _MOST_CLIENT_LETTERS = "x-client", 64


class Demo:
    """The endpoints for one model.

    Args:
        label_space: `LabelSpace` of the model.
        signatures: `Signatures` of a model that is here, or `TensorFlowServing`.
        examples: list of (name, integers [H, W] in model ids).
    """

    def __init__(self, label_space, signatures, examples=()):
        self._space, self._signatures = label_space, signatures
        self._size = signatures.height, signatures.width
        self._examples = [(name, encode_png(label_map)) for name, label_map in examples]
        self._facts = self._described()
        self._painting, self._decoding = Turns(), Turns(most_waiting=4)

    def routes(self):
        """Starlette's routes."""
        return [
            Route("/v1/models/{path:path}", self._predict, methods=["POST"]),
            Route("/v1/models/{path:path}", self._about, methods=["GET"]),
            Route("/model.json", self._model),
            Route("/api/examples/{number:int}", self._example),
            Route("/api/labels", self._labels, methods=["POST"]),
            Route("/api/photograph", self._photograph, methods=["POST"]),
            Mount("/", StaticFiles(packages=[("oasis_tf.systems.oasis.demo", "page")], html=True)),
        ]

    def _described(self):
        return contract.facts(self._space) | {
            "origin": self._signatures.origin,
            "height": self._signatures.height,
            "width": self._signatures.width,
            # Of noise that the page can edit.
            "noise_channels": self._signatures.noise_channels,
            "painter": {"kind": "rest", "url": f"v1/models/{MODEL_NAME}", "own": True},
            "reader": "server",
            "max_upload": MAX_UPLOAD,
            "examples": [
                {"name": name, "url": f"api/examples/{number}"}
                for number, (name, _) in enumerate(self._examples)
            ],
        }

    # === What the model answers ===

    async def _predict(self, request):
        name, verb = rest.split_path(request.path_params["path"])
        if name != MODEL_NAME or verb != ":predict":
            raise HTTPException(404, f"The model is /v1/models/{MODEL_NAME}:predict.")
        body = await _body(request, MAX_REQUEST)
        signature, instances = rest.parse(body, self._signatures.kinds)
        client = request.headers.get(_CLIENT_HEADER, "")[:_MOST_CLIENT_LETTERS] or None
        work = functools.partial(self._work, signature, instances)
        rows, seconds = await self._painting.run(work, client, request.is_disconnected)
        timing = {"Server-Timing": f"model;dur={1000 * seconds:.1f}"}
        return JSONResponse(rest.predictions(rows), headers=timing)

    def _work(self, signature, instances):
        start = time.perf_counter()
        rows = [self._signatures(signature, inputs) for inputs in instances]
        return rows, time.perf_counter() - start

    async def _about(self, request):
        name, verb = rest.split_path(request.path_params["path"])
        if name != MODEL_NAME or verb == ":predict":
            raise HTTPException(404, f"There is GET /v1/models/{MODEL_NAME} and …/metadata.")
        if verb:
            kinds, version = self._signatures.kinds, self._signatures.version
            return JSONResponse(rest.metadata(MODEL_NAME, version, kinds))
        return JSONResponse(rest.status(self._signatures.version))

    # === What the page needs besides ===

    async def _model(self, request):
        return JSONResponse(self._facts)

    async def _example(self, request):
        number = request.path_params["number"]
        if number >= len(self._examples):
            raise HTTPException(404, f"There are {len(self._examples)} examples.")
        return Response(self._examples[number][1], media_type="image/png")

    async def _labels(self, request):
        contents = await _body(request, MAX_UPLOAD)
        work = functools.partial(uploads.label_map, contents, self._space, *self._size)
        return _uploaded("label_map_bytes", *await self._decoding.run(work))

    async def _photograph(self, request):
        contents = await _body(request, MAX_UPLOAD)
        work = functools.partial(uploads.photograph, contents, *self._size)
        return _uploaded("image_bytes", *await self._decoding.run(work))


def _uploaded(name, contents, size):
    height, width = size
    return JSONResponse({name: rest.as_b64(contents), "height": height, "width": width})


async def _body(request, limit):
    """The request's bytes; refuses more than `limit`, announced or not, and what takes too long."""
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


# === The application ===


def application(label_space, signatures, examples=(), host=None):
    """The Starlette application.

    Args:
        label_space, signatures, examples: as for `Demo`.
        host: where it listens; on loopback it answers to the names of loopback alone.
    """
    names = LOOPBACK_NAMES | {host} if host and is_loopback(host) else None
    return Starlette(
        routes=Demo(label_space, signatures, examples).routes(),
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
        proxy_headers=False,  # whoever asks must not choose the address that is counted
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=2,
        lifespan="off",
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listening])

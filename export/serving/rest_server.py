"""The REST half of the loopback server: TensorFlow Serving's paths over a `Servable`."""

import http.server
import json
import re
import socketserver
import sys
import threading
import traceback

from export.serving import rest_rules
from export.serving.errors import HTTP_STATUS, ServingError

MAX_REQUEST = 2**26  # bytes
MOST_CONNECTIONS = 64
_READ_SECONDS = 30
_PREDICT = re.compile(r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d{1,18}))?:predict")
_ABOUT = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d{1,18}))?(?P<metadata>/metadata)?"
)


class RestServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Answers on 127.0.0.1; a thread for every connection, at most `MOST_CONNECTIONS`.

    Args:
        servable: `Servable`.
        port: 0 takes a free one.

    Raises:
        OSError: the port cannot be had.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, servable, port=0):
        self.servable = servable
        self._connections = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self):
        """Where the model is found."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1/models/{self.servable.name}"

    def process_request(self, request, client_address):
        """A thread for the connection, or its end if there are too many."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        """As the base class; gives the connection's place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request, client_address):
        """A client that went away is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _READ_SECONDS
    wbufsize = -1  # one write for head and body, not two that wait for each other
    disable_nagle_algorithm = True

    def do_GET(self):
        """Status and metadata."""
        self._answer(self._about)

    def do_POST(self):
        """Predictions."""
        self._answer(self._predict)

    def log_message(self, *_):
        """Nothing: the answers tell it."""

    def _answer(self, work):
        try:
            status, contents = 200, work()
        except ServingError as error:
            status, contents = HTTP_STATUS[error.code], {"error": error.message}
        except OSError:
            raise
        except Exception:
            traceback.print_exc()
            status, contents = 500, {"error": "The server failed; its log says why."}
        body = json.dumps(contents).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _predict(self):
        body = self._body()
        match, servable = _PREDICT.fullmatch(self.path), self.server.servable
        if not match:
            raise ServingError("INVALID_ARGUMENT", f"Malformed request: POST {self.path[:200]}")
        servable.check_name(*_named(match))
        name, inputs, form = rest_rules.read_request(body, servable.signatures)
        del body
        return rest_rules.write_answer(servable.predict(name, inputs), form)

    def _about(self):
        match, servable = _ABOUT.fullmatch(self.path), self.server.servable
        if not match:
            raise ServingError("INVALID_ARGUMENT", f"Malformed request: GET {self.path[:200]}")
        name, version = _named(match)
        try:
            servable.check_name(name, version)
        except ServingError as error:
            if match["metadata"]:
                raise
            message = f"Could not find any versions of model {name}"
            raise ServingError("NOT_FOUND", message) from error
        return servable.metadata() if match["metadata"] else servable.status()

    def _body(self):
        """The request's bytes; whatever is left unread ends the connection."""
        announced = self.headers.get("Content-Length", "")
        if not announced.isdecimal() or int(announced) > MAX_REQUEST:
            self.close_connection = True
            raise ServingError(
                "INVALID_ARGUMENT",
                f"A request needs a Content-Length of {MAX_REQUEST:,} at most. "
                f"Received: {announced or 'none'}.",
            )
        body = self.rfile.read(int(announced))
        if len(body) < int(announced):
            self.close_connection = True
            raise ServingError("INVALID_ARGUMENT", "The request ended early.")
        return body


def _named(match):
    version = match["version"]
    return match["name"], None if version is None else int(version)

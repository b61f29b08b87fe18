"""A client of ASGI applications that needs no socket."""

import asyncio
import contextlib
import json as json_module


class Response:
    """What a `Client` got."""

    def __init__(self, messages):
        start, *parts = messages
        self.status_code = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.content = b"".join(part.get("body", b"") for part in parts)

    @property
    def text(self):
        return self.content.decode()

    def json(self):
        return json_module.loads(self.content)


class Client:
    """Calls an ASGI application as a server would, without a socket."""

    def __init__(self, app):
        self._app = app

    def get(self, path, headers=()):
        return self._send("GET", path, [b""], headers)

    def post(self, path, content=b"", json=None, headers=()):
        """`content` in pieces has no length that is announced."""
        if json is not None:
            content = json_module.dumps(json).encode()
        if not isinstance(content, bytes):
            return self._send("POST", path, list(content), headers)
        length = {"content-length": str(len(content))}
        return self._send("POST", path, [content], length | dict(headers))

    def _send(self, method, path, parts, headers):
        headers = {"host": "testserver"} | {k.lower(): v for k, v in dict(headers).items()}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
            "client": ("192.0.2.1", 4000),
            "server": ("testserver", 80),
        }
        body = [
            {"type": "http.request", "body": part, "more_body": k + 1 < len(parts)}
            for k, part in enumerate(parts)
        ]
        sent = []

        async def receive():
            return body.pop(0) if body else await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        with contextlib.suppress(KeyError):  # a defect is answered, then raised for the log
            asyncio.run(self._app(scope, receive, send))
        return Response(sent)

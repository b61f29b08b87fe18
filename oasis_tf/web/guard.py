"""Checks before every request, and headers of every answer."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from oasis_tf.web.turns import RateLimit

PER_SECOND, BURST = 60, 120  # a small model generates some 30 images a second
MOST_IN_FLIGHT = 16
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Guard:
    """ASGI middleware: refuses requests of other sites and too many requests, adds headers.

    Args:
        app: ASGI application.
        names: host names that requests may be addressed to, None for any. Without them, a page of
            another site could reach a server on loopback by a name of its own that leads there.
        rate: `RateLimit` of requests that cause work, by the address they come from.
    """

    def __init__(self, app, names=None, rate=None):
        self._app, self._names = app, names
        self._rate = rate or RateLimit(PER_SECOND, BURST)
        self._in_flight = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal:
            return await refusal(scope, receive, _with_headers(send))
        self._in_flight += 1
        try:
            await self._app(scope, receive, _with_headers(send))
        finally:
            self._in_flight -= 1

    def _refusal(self, scope):
        headers = Headers(scope=scope)
        if self._names is not None and _host_name(headers) not in self._names:
            return _refused(403, f"The demo is at {', '.join(sorted(self._names))}.")
        if scope["method"] != "POST":
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return _refused(403, "Only the demo's own page may ask.")
        if self._in_flight >= MOST_IN_FLIGHT:
            return _refused(503, "The server is busy. Try again shortly.")
        if not self._rate.allows((scope.get("client") or ("",))[0]):
            return _refused(429, "Too many requests. Wait a second.")
        return None


def _host_name(headers):
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname
    except ValueError:
        return None


def _refused(status, message):
    retry = {"Retry-After": "1"} if status != 403 else None
    return JSONResponse({"error": message}, status_code=status, headers=retry)


def _with_headers(send):
    async def send_with_headers(message):
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return send_with_headers

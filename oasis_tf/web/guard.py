"""Checks before every request, and headers of every answer."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse

from oasis_tf.web.turns import RateLimit

# Bounds what is cheap, such as refusals; what is dear waits for its turn.
PER_SECOND, BURST = 200, 400
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

    It tells the application the address that a request comes from, `request.state.address`.

    Args:
        app: ASGI application.
        names: host names that requests may be addressed to, None for any. Without them, a page of
            another site could reach a server on loopback by a name of its own that leads there.
        public: `PublicUrl` of the proxy before this server, or None. The proxy then says where
            requests come from: the last address of X-Forwarded-For, which it added.
        rate: `RateLimit` of requests that cause work, by the address they come from.
    """

    def __init__(self, app, names=None, public=None, rate=None):
        self._app, self._names, self._public = app, names, public
        self._rate = rate or RateLimit(PER_SECOND, BURST)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers, send = Headers(scope=scope), _with_headers(send)
        address, path = self._address(scope, headers), scope["path"]
        answer = self._refusal(scope["method"], headers, address)
        if self._public is not None:
            if self._public.is_folder(path):
                answer = answer or RedirectResponse(str(self._public))
            path = self._public.inside(path)
        state = {**scope.get("state", {}), "address": address}
        scope = {**scope, "path": path, "state": state}
        await (answer or self._app)(scope, receive, send)

    def _address(self, scope, headers):
        if self._public is not None:
            *_, last = headers.get("x-forwarded-for", "").split(",")
            if last.strip():
                return last.strip()
        return (scope.get("client") or ("",))[0]

    def _refusal(self, method, headers, address):
        if self._names is not None and _host_name(headers) not in self._names:
            return _refused(
                403,
                f"The demo is at {', '.join(sorted(self._names))}. Behind a proxy it must be "
                "started with --public_url.",
            )
        if method != "POST":
            return None
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, headers):
            return _refused(
                403,
                "Only the demo's own page may ask. Behind a proxy the demo must be started with "
                "--public_url, the address in the browser.",
            )
        if not self._rate.allows(address):
            return _refused(429, "Too many requests. Wait a second.")
        return None

    def _is_own(self, origin, headers):
        if self._public is not None and origin == self._public.origin:
            return True
        return origin.partition("://")[2] == headers.get("host")


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

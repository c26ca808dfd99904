"""Checks of every request's host, and security headers of every response.

A page of another site can make a browser send requests to this machine's loopback, and by DNS rebinding even
read the answers. Such requests have the other site's name in their Host header.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Allows only our own files: no inline scripts or styles, no frames, no other sites.
PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A figure opened directly may use its embedded style sheet, and nothing else.
FIGURE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Middleware: refuses requests with a foreign Host header, and adds the headers above.

    The port is not compared, so that a forwarded port (`ssh -L 8080:127.0.0.1:50052`) works.

    Args:
        app: The wrapped application.
        host: The host on which the server listens, allowed besides the names of loopback.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._hosts = _LOOPBACK | {host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        app = self._app
        if host_of(Headers(scope=scope).get("host", "")) not in self._hosts:
            app = PlainTextResponse(
                "This page is served under localhost and 127.0.0.1 only; another Host header is refused.\n",
                status_code=421,
            )
        await app(scope, receive, guarded)


def host_of(header: str) -> str:
    """The host of a Host header, without the port and brackets.

    >>> host_of("localhost:50052"), host_of("[::1]:50052"), host_of("Example.org")
    ('localhost', '::1', 'example.org')
    """
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if ":" in name else name

"""The HTTP server of the web application."""

from __future__ import annotations

from typing import Final

import uvicorn
from starlette.types import ASGIApp

# A browser opens six connections; beyond this number requests are refused.
_CONNECTIONS: Final = 100


def server(app: ASGIApp, host: str, port: int) -> uvicorn.Server:
    """A server that ends when its attribute `should_exit` is set, or at SIGTERM or SIGINT.

    Args:
        app: The application.
        host: A loopback address.
        port: Port; 0 takes a free one.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the page is not behind a proxy
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)

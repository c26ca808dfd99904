"""Check that a server listens at an address."""

from __future__ import annotations

import socket
from typing import Final

from ipserver.errors import NotReady

_CONNECT_SECONDS: Final = 5.0


def require_listener(setting: str, host: str, port: int) -> None:
    """Check that a server listens at `host`:`port`. Libraries would retry for minutes before they fail.

    Raises:
        NotReady: No server listens there.
    """
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise NotReady(
            f"{setting}: nothing answers at {host}:{port}: {error.strerror or error}; "
            "start it, or correct the address"
        ) from None

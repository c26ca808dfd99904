"""The page's calls to the API: the one place that says on whose behalf they are made."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from starlette.requests import Request

import iplab
from iplab.client import Client

_SECONDS: Final = 30.0
_MOST_CALLERS: Final = 64
Metadata = tuple[tuple[str, str], ...]


class Calls:
    """Clients of the API, one per metadata.

    Args:
        address: HOST:PORT of the API.
        metadata: What is sent with the calls that answer a request of a browser.
    """

    def __init__(self, address: str, metadata: Callable[[Request], Metadata] = lambda _: ()) -> None:
        self.address = address
        self._metadata = metadata
        self._connected = lru_cache(_MOST_CALLERS)(self._connect)

    def client(self, request: Request) -> Client:
        """The client for a request of a browser."""
        return self._connected(self._metadata(request))

    def _connect(self, metadata: Metadata) -> Client:
        return iplab.connect(self.address, timeout=_SECONDS, metadata=metadata)

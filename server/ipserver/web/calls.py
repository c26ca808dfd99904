"""The page's calls to the API, with the token of the browser's user.

If the API needs tokens, a browser sends one as the password of HTTP's Basic authentication, with any user
name. The page has no token of its own, so it shows a user no more than the API would.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from functools import lru_cache
from typing import Final

from starlette.requests import Request

from iplab.client import Client
from iplab.connection.credentials import channel_credentials
from iplab.connection.profiles import find_profile
from iplab.connection.transport import Transport

_MOST_CALLERS: Final = 64


class Calls:
    """Clients of the API, one per token.

    Args:
        address: HOST:PORT of the API; the client's variables determine TLS (see `iplab.connection.profiles`).
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._connected = lru_cache(_MOST_CALLERS)(self._connect)

    def client(self, request: Request) -> Client:
        """The client for a browser's request.

        Raises:
            InvalidRequestError: The variables for TLS are invalid.
        """
        return self._connected(token_of(request.headers.get("authorization", "")))

    def _connect(self, token: str) -> Client:
        profile = replace(find_profile(self.address), token=token, token_file="")
        transport = Transport(
            profile.address,
            profile.seconds,
            credentials=channel_credentials(profile),
            token=profile.read_token,
        )
        return Client(transport)


def token_of(header: str) -> str:
    """The token in the header "authorization"; "" if there is none.

    >>> token_of("Basic " + base64.b64encode(b"me:secret").decode()), token_of("Bearer secret"), token_of("")
    ('secret', 'secret', '')
    """
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        text = rest.strip()
    elif scheme.lower() == "basic":
        try:
            text = base64.b64decode(rest, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    else:
        return ""
    # A token must be valid in a header.
    return text if text.isascii() and text.isprintable() else ""

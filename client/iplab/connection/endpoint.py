"""Shared by the sync and the async client: address, metadata of every call, and errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast

import grpc

from iplab.connection import proxies
from iplab.connection.credentials import channel_credentials
from iplab.connection.profiles import find_profile
from iplab.connection.status import from_call
from iplab.connection.tracing import context_metadata
from iplab.errors import InvalidRequestError, IplabError, TimedOutError, UnavailableError, Violation
from iplab.given import seconds_of

Metadata = tuple[tuple[str, str], ...]
Way = tuple[str, float, Sequence[tuple[str, str]], grpc.ChannelCredentials | None, Callable[[], str]]

# Pings keep idle watches open across firewalls that drop connections after a minute.
_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)
_MORE_TIME: Final = "IPLAB_TIMEOUT, `timeout` of a profile or of iplab.connect"
_HOST_AND_PORT: Final = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):(?P<port>[0-9]{1,5})", re.ASCII)
_OTHER_NAME: Final = re.compile(r"(?:unix|unix-abstract|dns|ipv4|ipv6|vsock|xds):\S*[^\s0-9:]\S*", re.ASCII)


def check_address(address: str) -> None:
    """Refuse an address that gRPC would misread: a missing port means 443, and 65537 means 1.

    Raises:
        InvalidRequestError: It is neither "host:port" nor a name with one of gRPC's schemes.

    >>> check_address("[::1]:50051")
    """
    found = isinstance(address, str) and _HOST_AND_PORT.fullmatch(address)
    if found and 1 <= int(found["port"]) <= 65_535:
        return
    if isinstance(address, str) and not found and _OTHER_NAME.fullmatch(address):
        return
    message = f"{address!r} is not an address; write HOST:PORT with a port in 1 .. 65535, as 127.0.0.1:50051"
    raise InvalidRequestError([Violation("address", message)])


def find_way(
    address: str | None,
    timeout: float | None,
    metadata: Sequence[tuple[str, str]],
    profile: str | None,
    token: str | None,
    credentials: grpc.ChannelCredentials | None,
) -> Way:
    """The arguments of an `Endpoint`, from those of `iplab.connect`. Raises the same errors."""
    chosen = find_profile(address, profile)
    if token is not None:
        chosen = replace(chosen, token=token)
    check_address(chosen.address)
    if credentials is None:
        credentials = channel_credentials(chosen)
    own = seconds_of("timeout", timeout)
    seconds = chosen.seconds if own is None else own
    return chosen.address, seconds, metadata, credentials, chosen.read_token


class Endpoint:
    """Base class of the sync and the async channel to a service.

    Args:
        address: "host:port".
        timeout: Seconds that a call with one answer may take, all its retries included.
        metadata: Sent with every call.
        credentials: For TLS; None: unencrypted.
        token: Returns the bearer token of the next call; "" if none.

    Attributes:
        address: "host:port".
        timeout: Seconds that a call with one answer may take, all its retries included.
    """

    def __init__(
        self,
        address: str,
        timeout: float,
        metadata: Sequence[tuple[str, str]] = (),
        credentials: grpc.ChannelCredentials | None = None,
        token: Callable[[], str] = str,
    ) -> None:
        self.address = address
        self.timeout = timeout
        self._credentials = credentials
        self._own_metadata: Metadata = tuple(metadata)
        self._token = token

    def _options(self) -> list[tuple[str, int]]:
        # A proxy cannot reach the loopback of this machine.
        direct = [("grpc.enable_http_proxy", 0)] if proxies.is_local(self.address) else []
        return [*_OPTIONS, *direct]

    def _metadata(self) -> Metadata:
        token = self._token()
        own = (*self._own_metadata, *context_metadata())
        return (*own, ("authorization", f"Bearer {token}")) if token else own

    def _translated(self, error: grpc.RpcError) -> IplabError:
        """The SDK's error. It replaces gRPC's, whose traceback would fill a notebook's cell."""
        translated = from_call(cast(grpc.Call, error), self.address)
        if isinstance(translated, TimedOutError):
            return TimedOutError(f"{translated}; allow more than {self.timeout:g} s: {_MORE_TIME}")
        if isinstance(translated, UnavailableError) and (hint := proxies.hint(self.address)):
            return UnavailableError(f"{translated}; {hint}")
        return translated

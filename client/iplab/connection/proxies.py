"""Proxies that other programs' variables ask gRPC to use, and when it must not use them."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from typing import Final

# gRPC reads these, the first one that is set, in small letters only; then the hosts that need no proxy.
_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS: Final = ("no_grpc_proxy", "no_proxy")
_SCHEME: Final = re.compile(r"(?:dns|ipv4|ipv6|xds):(?=\D|[\d.]+:)(?://[^/]*/)?")


def is_local(address: str) -> bool:
    """Whether a gRPC address can only be this machine: its loopback, its own name, a socket in its files.

    Args:
        address: "host:port", or with one of gRPC's schemes.

    >>> [is_local(name) for name in ("127.0.0.1:50051", "[::1]:50051", "unix:/run/iplab.sock")]
    [True, True, True]
    >>> [is_local(name) for name in ("dns:///localhost:50051", "lab.example.org:50051")]
    [True, False]
    """
    if address.startswith(("unix:", "unix-abstract:", "vsock:")):
        return True
    host = _host(address)
    if host in {"localhost", socket.gethostname()} or host.endswith(".localhost"):
        return True
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return False
    return parsed.is_loopback or parsed.is_unspecified


def hint(address: str, environment: Mapping[str, str] = os.environ) -> str:
    """Explanation for an unreachable service behind a proxy; "" if none is used.

    A variable's value is not shown: it may hold a password.
    """
    if is_local(address):
        return ""
    variable = next((name for name in _VARIABLES if environment.get(name)), None)
    excepted = next((environment[name] for name in _EXCEPTIONS if environment.get(name)), "")
    host = _host(address)
    if variable is None or any(
        host.endswith(entry.strip()) for entry in excepted.split(",") if entry.strip()
    ):
        return ""
    return (
        f"the variable {variable} sends this connection through a proxy: if {host} is to be reached "
        f"directly, add it to no_proxy (no_proxy={host})"
    )


def _host(address: str) -> str:
    """The host of an address, without scheme, port and brackets; the first one of a list."""
    plain = _SCHEME.sub("", address, count=1).partition(",")[0]
    host = plain.rpartition(":")[0] or plain
    return host.strip("[]").partition("%")[0].lower()

"""Proxies that environment variables name, and addresses for which gRPC must not use them."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from typing import Final

# gRPC uses the first of these that is set, in lower case only, except for the hosts in the others.
_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS: Final = ("no_grpc_proxy", "no_proxy")
_SCHEME: Final = re.compile(r"(?:dns|ipv4|ipv6|xds):(?=\D|[\d.]+:)(?://[^/]*/)?")


def is_local(address: str) -> bool:
    """Whether a gRPC address is surely on this machine: loopback, the machine's own name, a Unix socket.

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

    The variable's value is not shown, because it may hold a password.
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
    """The host of an address, without scheme, port and brackets; of a list, the first."""
    plain = _SCHEME.sub("", address, count=1).partition(",")[0]
    host = plain.rpartition(":")[0] or plain
    return host.strip("[]").partition("%")[0].lower()

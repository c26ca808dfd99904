"""Addresses of the metrics of the parts of `ipserver up`: consecutive ports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ipserver.errors import StartupError
from ipserver.ops.places import free_address

# Parts with metrics, in the order of their ports.
PARTS: Final = ("api", "dispatch", "forward")
_TRIES: Final = 20
_OPTION: Final = "IPLAB_METRICS_ADDRESS"


def part_address(address: str, part: str) -> str:
    """Address of a part's metrics, given the API's `address`; "" if the part serves none.

    >>> part_address("127.0.0.1:9464", "dispatch"), part_address("127.0.0.1:9464", "web")
    ('127.0.0.1:9465', '')
    """
    if not address or part not in PARTS:
        return ""
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + PARTS.index(part)}"


def addresses(address: str, parts: Iterable[str] = PARTS) -> dict[str, str]:
    """Address of the metrics of each part; empty if metrics are off."""
    found = {part: part_address(address, part) for part in parts}
    return {part: where for part, where in found.items() if where}


def with_free_ports(address: str) -> str:
    """The address, with port 0 replaced by the first of consecutive free ports for all parts.

    Raises:
        StartupError: A port is in use, or the host does not belong to this machine.
    """
    if not address:
        return ""
    host, _, port = address.rpartition(":")
    for _ in range(_TRIES):
        first = address if int(port) else free_address(f"{host}:0", _OPTION)
        try:
            for where in addresses(first).values():
                free_address(where, _OPTION)
        except StartupError:
            if int(port):
                raise
            continue
        return first
    raise StartupError(f"IPLAB_METRICS_ADDRESS: there are no {len(PARTS)} consecutive free ports on {host}")

"""Port numbers for servers that are started later, or more than once."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

# Processes of `ray start` use the ports below, in order.
_LOWEST = 20_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port on loopback on which nothing listens, and which no other test gets meanwhile.

    The system assigns ports of its own range to processes that ask for port 0 and to outgoing connections. It
    may assign a free port of that range at any time, so the port is drawn from below the range.
    """
    end = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 0
    while True:
        port = _LOWEST + secrets.randbelow(end - _LOWEST) if end > _LOWEST + 1000 else 0
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])

"""Port numbers for servers that are started later, or more than once."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

# Ray's workers take the ports below, in their order, for what `ray start` starts.
_LOWEST = 20_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port on loopback on which nothing listens, and which no neighbour gets meanwhile.

    The system hands out ports of a range of its own to whoever asks for port 0, and to outgoing connections.
    A port of that range may be taken again as soon as it is let go, so one below the range is drawn.
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

"""Values of variables that libraries once understood, and at which their present versions end the process.

Old advice has left them in shells' profiles and images. This module imports nothing that a library replaces.
"""

from __future__ import annotations

from collections.abc import MutableMapping

# Of gRPC. It has no "epollex" and "epollsig" any more, and "none" polls nothing.
_POLLERS = frozenset({"all", "epoll1", "poll"})


def forget_retired(environment: MutableMapping[str, str]) -> None:
    """Remove variables with such values; the libraries then choose for themselves.

    >>> environment = {"GRPC_POLL_STRATEGY": "epollex", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    >>> forget_retired(environment)
    >>> environment
    {'PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION': 'python'}
    """
    if not _POLLERS.issuperset(environment.get("GRPC_POLL_STRATEGY", "all").split(",")):
        del environment["GRPC_POLL_STRATEGY"]
    if environment.get("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION") == "cpp":  # today's is called "upb"
        del environment["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"]

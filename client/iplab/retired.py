"""Removes environment variables with values of older libraries, at which present ones abort the process.

Such values are still set in some shell profiles and images. This module imports no library.
"""

from __future__ import annotations

from collections.abc import MutableMapping

# Valid values in gRPC. It no longer has "epollex" and "epollsig", and "none" does not poll at all.
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

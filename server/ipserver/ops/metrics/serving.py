"""Serves the metrics of a part.

The number of values of each label is bounded: methods, states and reasons by the code, projects by the
operator. Names of experiments and users are not used as labels.
"""

from __future__ import annotations

import logging
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge, start_http_server
from prometheus_client.process_collector import ProcessCollector

from ipserver.environment.addresses import split_address
from ipserver.errors import StartupError

_log = logging.getLogger(__name__)


def serve_metrics(part: str, address: str) -> CollectorRegistry:
    """Serve metrics from a thread that ends with the process.

    Args:
        part: "api", "dispatch" or "forward".
        address: HOST:PORT; port 0 takes a free port, which the log names.

    Returns:
        The registry of the served metrics, with those of all parts: CPU time, memory and open files of the
        process, and the version.

    Raises:
        StartupError: The part cannot listen on the address.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    about = Gauge("iplab_part_info", "Part and version; always 1", ("part", "version"), registry=registry)
    about.labels(part, version("iplab")).set(1)
    host, port = split_address(address)
    try:
        server, _ = start_http_server(int(port), host, registry)
    except OSError as error:
        raise StartupError(
            f"IPLAB_METRICS_ADDRESS: cannot listen on {address}: {error.strerror}; choose another address"
        ) from None
    _log.info("metrics on port %d", server.server_port)
    return registry

"""The metric query that experiments and runs share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from iplab.connection.transport import Transport
from iplab.results import requests
from iplab.results.metrics import Metrics, collect
from iplab.results.settings import Settings


def query_metrics(
    transport: Transport,
    parent: str,
    filter: str,
    names: Sequence[str],
    *,
    steps: tuple[int, int],
    settings: Callable[[], Mapping[int, Settings]],
    diverged: Callable[[], Mapping[int, int]],
) -> Metrics:
    """Metric points as columns. An interrupted stream is read again from its start.

    Args:
        transport: Channel to the service.
        parent: "experiments/{id}".
        filter: Filter of runs.
        names: Names of metrics.
        steps: First and last step.
        settings: Reads the settings of runs, by index.
        diverged: Reads the steps at which runs diverged, by index.
    """
    request = requests.metrics(parent, filter, names, steps)
    found = transport.retry(lambda: collect(transport.stream(transport.runs.QueryMetrics, request)))
    return replace(found, settings=settings(), diverged=diverged())

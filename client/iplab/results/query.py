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
    """Metric points as columns; a stream that breaks is read again from its start.

    Args:
        transport: Where to.
        parent: "experiments/{id}".
        filter: Which runs.
        names: Which metrics.
        steps: First and last.
        settings: Reads where the runs stand in the grid, by index.
        diverged: Reads at which step those that diverged did.
    """
    request = requests.metrics(parent, filter, names, steps)
    found = transport.retry(lambda: collect(transport.stream(transport.runs.QueryMetrics, request)))
    return replace(found, settings=settings(), diverged=diverged())

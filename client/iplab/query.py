"""The metric query that experiments and runs share."""

from __future__ import annotations

from collections.abc import Sequence

from iplab.metrics import Metrics, collect
from iplab.transport import Transport
from iplab.v1 import run_service_pb2


def query_metrics(
    transport: Transport,
    parent: str,
    filter: str,
    names: Sequence[str],
    *,
    steps: tuple[int, int],
) -> Metrics:
    """Metric points as columns; a stream that breaks is read again from its start."""
    request = run_service_pb2.QueryMetricsRequest(
        parent=parent, filter=filter, metrics=names, first_step=steps[0], last_step=steps[1]
    )
    return transport.retry(lambda: collect(transport.stream(transport.runs.QueryMetrics, request)))

"""The metric query that async experiments and runs share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from iplab.connection.async_transport import AsyncTransport
from iplab.results import requests
from iplab.v1.run_service_pb2 import QueryMetricsResponse

if TYPE_CHECKING:
    from iplab.results.metrics import Metrics


async def query_metrics(
    transport: AsyncTransport, parent: str, filter: str, names: Sequence[str], steps: tuple[int, int]
) -> Metrics:
    """Metric points as columns, without settings. An interrupted stream is read again from its start.

    Args:
        transport: Channel to the service.
        parent: "experiments/{id}".
        filter: Filter of runs.
        names: Names of metrics.
        steps: First and last step.
    """
    from iplab.results.metrics import collect  # noqa: PLC0415 - numpy only where arrays are wanted

    request = requests.metrics(parent, filter, names, steps)

    async def blocks() -> list[QueryMetricsResponse]:
        return [block async for block in transport.stream(transport.runs.QueryMetrics, request)]

    # In a thread: sorting millions of points takes a second.
    return await asyncio.to_thread(collect, await transport.retry(blocks))

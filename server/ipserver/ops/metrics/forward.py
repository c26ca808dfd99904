"""Metrics of a forwarder: data sent, and how far MLflow is behind."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Metric

from ipserver.forward.observing import Observer
from ipserver.ops.metrics.readings import Readings, gauge
from ipserver.store import Store


class ForwardMetrics(Observer):
    """Counts points and runs that a forwarder sends.

    Args:
        registry: Registry of the metrics.
        store: The store, which has the lag.
    """

    def __init__(self, registry: CollectorRegistry, store: Store) -> None:
        self._points = Counter("iplab_forward_points", "Points handed to MLflow", registry=registry)
        self._runs = Counter(
            "iplab_forward_runs",
            "Runs whose new data MLflow took or refused",
            ("outcome",),
            registry=registry,
        )
        for outcome in ("taken", "refused"):
            self._runs.labels(outcome)
        registry.register(Readings(lambda: _unsent(store)))

    def points(self, count: int) -> None:
        """See `Observer`."""
        self._points.inc(count)

    def taken(self) -> None:
        """See `Observer`."""
        self._runs.labels("taken").inc()

    def refused(self) -> None:
        """See `Observer`."""
        self._runs.labels("refused").inc()


def _unsent(store: Store) -> Sequence[Metric]:
    found = store.unsent()
    return (
        gauge("iplab_forward_lag_seconds", "Age of the oldest data that MLflow lacks", {"": found.seconds}),
        gauge("iplab_forward_unsent_runs", "Runs with data that MLflow lacks", {"": float(found.runs)}),
    )

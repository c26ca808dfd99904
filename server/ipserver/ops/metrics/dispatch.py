"""Metrics of a dispatcher: its slices, and the queue and cluster that all dispatchers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

from ipserver.ops.metrics.readings import Readings, gauge
from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.observing import Observer
from ipserver.store import Store
from ipserver.store.states import FailureReason

# No custom resources, whose number is not bounded.
_RESOURCES: Final = ("cpus", "gpus")
_LAG_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class DispatchMetrics(Observer):
    """Counts a dispatcher's slices.

    Args:
        registry: Registry of the metrics.
        store: The store, which has queue and cluster.
    """

    def __init__(self, registry: CollectorRegistry, store: Store) -> None:
        self._slices = Counter(
            "iplab_dispatch_slices",
            "Slices that arrived and were committed, or repeated what had been committed",
            ("outcome",),
            registry=registry,
        )
        for outcome in ("committed", "repeated"):
            self._slices.labels(outcome)
        self._updates = Counter(
            "iplab_dispatch_updates", "Committed updates, summed over runs", registry=registry
        )
        self._lag = Histogram(
            "iplab_dispatch_commit_lag_seconds",
            "Time from a slice's arrival at the dispatcher to the end of its commit",
            registry=registry,
            buckets=_LAG_BUCKETS,
        )
        self._failed = Counter(
            "iplab_dispatch_attempts_failed", "Failed attempts at packs", ("reason",), registry=registry
        )
        registry.register(Readings(lambda: _queue(store)))

    def committed(self, updates: int, lag_seconds: float) -> None:
        """See `Observer`."""
        self._slices.labels("committed").inc()
        self._updates.inc(updates)
        self._lag.observe(lag_seconds)

    def repeated(self) -> None:
        """See `Observer`."""
        self._slices.labels("repeated").inc()

    def failed(self, reason: FailureReason) -> None:
        """See `Observer`."""
        self._failed.labels(reason.value).inc()


def _queue(store: Store) -> Sequence[Metric]:
    found = store.queue()
    used = dict.fromkeys(_RESOURCES, 0.0)
    for shape, packs in found.leased.items():
        amounts = ResourceRequest.of(shape).amounts()
        for name in _RESOURCES:
            used[name] += packs * amounts.get(name, 0.0)
    totals = {name: found.totals.get(name, 0.0) for name in _RESOURCES}
    free = {name: max(0.0, totals[name] - used[name]) for name in _RESOURCES}
    waiting = {project: float(packs) for project, packs in found.waiting.items()}
    states = {state.value: float(packs) for state, packs in found.packs.items()}
    return (
        gauge("iplab_packs_waiting", "Packs that wait for a worker, by project", waiting, "project"),
        gauge("iplab_experiments_unplanned", "Experiments to plan", {"": float(found.unplanned)}),
        gauge("iplab_packs", "Packs that have not ended, by state", states, "state"),
        gauge("iplab_cluster_total", "Resources of the cluster as last reported", totals, "resource"),
        gauge("iplab_cluster_free", "Resources that no pack has leased", free, "resource"),
    )

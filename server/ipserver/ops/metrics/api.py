"""Metrics of the API: calls by method and code."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from ipserver.api.calls import Call

# In seconds. No unary method takes longer than a minute; streams may last for days.
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class ApiMetrics:
    """Counts calls; an observer of `ipserver.api.calls`.

    Args:
        registry: Registry of the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "iplab_api_calls", "Calls that have ended", ("method", "code"), registry=registry
        )
        self._seconds = Histogram(
            "iplab_api_call_seconds",
            "Time from a call's start to its end; of a stream, to the end of the stream",
            ("method",),
            registry=registry,
            buckets=_BUCKETS,
        )

    def __call__(self, call: Call) -> None:
        """Count a call."""
        self._calls.labels(call.method, call.code).inc()
        self._seconds.labels(call.method).observe(call.seconds)

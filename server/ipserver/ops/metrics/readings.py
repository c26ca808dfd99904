"""Gauges that are read from the store when metrics are requested."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ipserver.errors import StoreUnavailable

# Shortest interval between two reads of the store.
_SECONDS: Final = 1.0


def gauge(name: str, text: str, values: dict[str, float], label: str = "") -> GaugeMetricFamily:
    """A gauge with a value for each value of its label. Without a label the only key of `values` is ""."""
    family = GaugeMetricFamily(name, text, labels=(label,) if label else ())
    for key, value in values.items():
        family.add_metric((key,) if label else (), value)
    return family


class Readings(Collector):  # type: ignore[misc, unused-ignore]  # a class of Any where the library is missing
    """Reads the store at most once a second. If it cannot be read, its gauges are missing.

    Args:
        read: Reads the store; raises StoreUnavailable.
        monotonic: Clock, in seconds.
    """

    def __init__(
        self, read: Callable[[], Sequence[Metric]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._at = -float("inf")
        self._found: Sequence[Metric] = ()

    def collect(self) -> Iterator[Metric]:
        """The gauges, and one that says whether the store could be read."""
        with self._lock:
            if self._monotonic() - self._at >= _SECONDS:
                try:
                    self._found = self._read()
                except StoreUnavailable:
                    self._found = ()
                self._at = self._monotonic()
            found = self._found
        yield from found
        text = "Whether the store could be read for the gauges that are read from it"
        yield gauge("iplab_store_readable", text, {"": float(bool(found))})

    def describe(self) -> Sequence[Metric]:
        """Empty, so that registering does not read the store."""
        return ()

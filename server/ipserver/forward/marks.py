"""Marks of sent data, written to the store for several runs at a time because a transaction costs a flush."""

from __future__ import annotations

from collections.abc import Callable

from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.store import Store
from ipserver.store.records.forwarding import Forwarded

# Bounds the data that are sent again after a crash.
_SECONDS = 1.0
_RUNS = 50


class TakenOver(Exception):
    """Another forwarder has taken over, because this one was silent for too long."""


class Marks:
    """Collect marks of sent runs and write them at most about a second later.

    Args:
        store: The store that holds the marks.
        sink: MLflow, whose data must be durable before they are marked.
        monotonic: Clock, in seconds.
    """

    def __init__(self, store: Store, sink: MlflowSink, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._sink = sink
        self._monotonic = monotonic
        self._sent: list[Forwarded] = []
        self._since = 0.0

    def add(self, sent: Forwarded) -> None:
        """Add a run to be marked soon. Raises as `save`."""
        if not self._sent:
            self._since = self._monotonic()
        self._sent.append(sent)
        if len(self._sent) >= _RUNS or self._monotonic() - self._since >= _SECONDS:
            self.save()

    def save(self) -> None:
        """Mark all collected runs. If this fails, the marks are dropped and the data are sent again.

        Raises:
            OSError: The sent data may not be durable.
            StoreUnavailable: The store does not answer.
            TakenOver: Another forwarder has created some of the runs; the duplicates were deleted in MLflow.
        """
        sent, self._sent = self._sent, []
        if not sent:
            return
        self._sink.sync()
        if late := self._store.mark_forwarded(sent):
            for one in late:
                self._sink.discard(one.mlflow_run_id)
            raise TakenOver(f"{len(late)} of the runs in MLflow were created by both")

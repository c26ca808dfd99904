"""What was sent and is not marked in the store yet: some runs at a time, for a transaction costs a flush."""

from __future__ import annotations

from collections.abc import Callable

from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.store import Store
from ipserver.store.records import Forwarded

# So much is sent again after a crash.
_SECONDS = 1.0
_RUNS = 50


class TakenOver(Exception):
    """Another forwarder has taken this one's place, because it was silent for too long."""


class Marks:
    """Collects what was sent and marks it, at most about a second later.

    Args:
        store: Where marks are written.
        sink: MLflow; what it was sent must be durable before the mark.
        monotonic: Clock, in seconds.
    """

    def __init__(self, store: Store, sink: MlflowSink, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._sink = sink
        self._monotonic = monotonic
        self._sent: list[Forwarded] = []
        self._since = 0.0

    def add(self, sent: Forwarded) -> None:
        """Mark a run soon. Raises what `save` raises."""
        if not self._sent:
            self._since = self._monotonic()
        self._sent.append(sent)
        if len(self._sent) >= _RUNS or self._monotonic() - self._since >= _SECONDS:
            self.save()

    def save(self) -> None:
        """Mark all that was sent. If that fails it is forgotten, and sent again.

        Raises:
            OSError: What was sent may not be durable.
            StoreUnavailable: The store does not answer.
            TakenOver: Another forwarder has sent some of it; what is too much in MLflow was deleted there.
        """
        sent, self._sent = self._sent, []
        if not sent:
            return
        self._sink.sync()
        if late := self._store.mark_forwarded(sent):
            for one in late:
                self._sink.discard(one.mlflow_run_id)
            raise TakenOver(f"it has created {len(late)} of the runs in MLflow that this one has created too")

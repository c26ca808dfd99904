"""Watches experiments: one poller per process, one bounded queue per watcher.

A watcher first reads the store until it has caught up, then takes events from its queue. The store numbers
events without gaps, so these numbers tell which events to take from where.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ipserver.api.blocking import Blocking
from ipserver.errors import FieldViolation, InvalidRequest, NotFound, StoreUnavailable, WatchOverflow
from ipserver.store.records.experiments import EventRecord
from ipserver.store.states import ExperimentState

if TYPE_CHECKING:
    from ipserver.store import Store

_log = logging.getLogger(__name__)
_PAGE = 500


class _Queue:
    """Queue of at most `capacity` events for one watcher."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._events: deque[EventRecord] = deque()
        self._changed = asyncio.Event()
        self._error: Exception | None = None

    def put(self, events: Sequence[EventRecord]) -> None:
        """Append events. Exceeding the capacity fails the watcher, not the poller."""
        if len(self._events) + len(events) > self._capacity:
            self.fail(
                WatchOverflow(
                    f"the watcher is more than {self._capacity} events behind; "
                    "watch again from the last event received"
                )
            )
        elif self._error is None:
            self._events.extend(events)
            self._changed.set()

    def fail(self, error: Exception) -> None:
        """Make `get` raise `error` immediately."""
        self._events.clear()
        self._error = self._error or error
        self._changed.set()

    async def get(self) -> list[EventRecord]:
        """Wait for at least one event; return all queued events."""
        await self._changed.wait()
        if self._error is not None:
            raise self._error
        events = list(self._events)
        self._events.clear()
        self._changed.clear()
        return events


@dataclass
class _Feed:
    """One watched experiment: number of the newest event handed out, and the watchers' queues."""

    position: int
    queues: set[_Queue] = field(default_factory=set)


class WatchHub:
    """Distributes events of experiments to watchers.

    Args:
        store: The store.
        blocking: Thread pool for calls of the store.
        interval: Seconds between two polls of the store.
        capacity: Number of events that a watcher may be behind.
    """

    def __init__(
        self, store: Store, blocking: Blocking, *, interval: float = 0.2, capacity: int = 10_000
    ) -> None:
        self._store = store
        self._blocking = blocking
        self._interval = interval
        self._capacity = max(capacity, _PAGE)
        self._feeds: dict[str, _Feed] = {}
        self._watched = asyncio.Event()
        self._closed = False

    async def watch(self, experiment: str, after: int) -> AsyncIterator[list[EventRecord]]:
        """Events after number `after`, in order and without gaps, until the experiment is terminal.

        If an ended experiment was extended, the watch continues until its new end.

        Raises:
            NotFound: There is no such experiment.
            InvalidRequest: `after` is not the number of an event.
            WatchOverflow: The caller reads events too slowly.
            StoreUnavailable: The store cannot be read, or the service stops.
        """
        record = await self._blocking.run(self._store.get_experiment, experiment)
        if not 0 <= after <= record.sequence:
            raise InvalidRequest(
                [FieldViolation("after_sequence", f"must lie in 0 .. {record.sequence}, not {after}")]
            )
        last, ended = after, record.state.terminal
        while page := await self._read(experiment, last):
            last, ended = page[-1].sequence, _ends(page, ended)
            yield page
        if ended:
            return
        queue, position = self._subscribe(experiment, last)
        try:
            while not ended:
                # Events between the last page and the subscription are only in the store.
                events = await (self._read(experiment, last) if last < position else queue.get())
                if page := [event for event in events if event.sequence > last]:
                    last, ended = page[-1].sequence, _ends(page, ended)
                    yield page
        finally:
            self._unsubscribe(experiment, queue)

    @property
    def watched(self) -> list[str]:
        """Ids of the watched experiments."""
        return sorted(self._feeds)

    async def poll(self) -> None:
        """Distribute new events until cancelled."""
        while True:
            await self._watched.wait()
            try:
                heads = await self._blocking.run(self._store.heads, self.watched)
                for experiment, head in heads.items():
                    await self._advance_or_fail(experiment, head)
            except Exception as error:
                # Watchers pass the error to their clients, which reconnect; the poller continues.
                if not isinstance(error, StoreUnavailable):
                    _log.exception("reading events failed")
                self._fail_all(error)
            await asyncio.sleep(self._interval)

    def close(self) -> None:
        """End all present and future watches with a status after which clients reconnect."""
        self._closed = True
        self._fail_all(_stopping())

    async def _read(self, experiment: str, after: int) -> list[EventRecord]:
        return list(await self._blocking.run(self._store.events, experiment, after=after, limit=_PAGE))

    async def _advance_or_fail(self, experiment: str, head: int) -> None:
        """As `_advance`, but an error of one experiment, such as its purge, ends its own watches alone."""
        try:
            await self._advance(experiment, head)
        except StoreUnavailable:
            raise
        except Exception as error:
            if not isinstance(error, NotFound):
                _log.exception("reading events of %s failed", experiment)
            if feed := self._feeds.get(experiment):
                _fail(feed, error)

    async def _advance(self, experiment: str, head: int) -> None:
        while (feed := self._feeds.get(experiment)) and feed.position < head:
            position = feed.position
            page = await self._read(experiment, position)
            if not page:
                return
            # While the page was read, the feed may have been replaced by a new one at another position.
            if self._feeds.get(experiment) is feed and feed.position == position:
                feed.position = page[-1].sequence
                for queue in feed.queues:
                    queue.put(page)

    def _subscribe(self, experiment: str, last: int) -> tuple[_Queue, int]:
        """Subscribe to an experiment: a queue, and the number of the event after which it begins."""
        if self._closed:
            raise _stopping()
        queue = _Queue(self._capacity)
        feed = self._feeds.setdefault(experiment, _Feed(last))
        feed.queues.add(queue)
        self._watched.set()
        return queue, feed.position

    def _unsubscribe(self, experiment: str, queue: _Queue) -> None:
        feed = self._feeds[experiment]
        feed.queues.discard(queue)
        if not feed.queues:
            del self._feeds[experiment]
        if not self._feeds:
            self._watched.clear()

    def _fail_all(self, error: Exception) -> None:
        for feed in self._feeds.values():
            _fail(feed, error)


def _fail(feed: _Feed, error: Exception) -> None:
    for queue in feed.queues:
        queue.fail(error)


def _stopping() -> StoreUnavailable:
    return StoreUnavailable("this server is stopping; watch again from the last event received")


def _ends(events: list[EventRecord], ended: bool) -> bool:
    """Whether the experiment has ended after these events, given its state before them."""
    for event in events:
        if event.kind == "experiment_state":
            ended = ExperimentState(str(event.payload["state"])).terminal
    return ended

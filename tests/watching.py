"""The promises of scheduling, checked from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.placement import Amounts, Room, filled
from ipserver.store.records.board import Queued


class Watch:
    """Checks pictures of used resources and waiting packs; AssertionError if a promise is broken.

    Args:
        nodes: Resources of each node.
        patience: Longest time for which a pack may wait while its resources are free, on the clock of `look`.
    """

    def __init__(self, nodes: Mapping[str, Amounts], patience: float) -> None:
        self._nodes = nodes
        self._patience = patience
        self._idle_since: dict[str, float] = {}
        self._waited: dict[str, Queued] = {}
        self.longest = 0.0

    def look(
        self,
        now: float,
        taken: Mapping[str, Sequence[ResourceRequest]],
        queued: Sequence[Queued],
        started: Mapping[str, str],
    ) -> None:
        """Check one picture.

        Args:
            now: Time of the picture.
            taken: Resources in use on each node.
            queued: Waiting packs, most urgent first.
            started: Experiments of which a pack got a place since the last picture, with its node.
        """
        rooms = {name: filled(amounts, taken.get(name, ())) for name, amounts in self._nodes.items()}
        self._most_urgent_first(rooms, queued, started)
        self._nothing_idle(now, rooms, queued)
        self._waited = {it.experiment: it for it in queued}

    def _most_urgent_first(
        self, rooms: Mapping[str, Room], queued: Sequence[Queued], started: Mapping[str, str]
    ) -> None:
        """No pack got a place while a more urgent pack, which still waits, would have fitted."""
        for name, node in started.items():
            mine = self._waited.get(name)
            for it in queued if mine is not None else ():
                before = self._waited.get(it.experiment)
                if before is None or not _ahead(before, mine):
                    continue
                asked = ResourceRequest.of(it.shape)
                assert not rooms[node].fits(asked), f"{name} started where {it.experiment} has room"

    def _nothing_idle(self, now: float, rooms: Mapping[str, Room], queued: Sequence[Queued]) -> None:
        """A pack that fits into free resources, beside what more urgent packs may wait for, starts soon."""
        idle: set[str] = set()
        for it in queued:
            asked = ResourceRequest.of(it.shape)
            if any(room.fits(asked) for room in rooms.values()):
                idle.add(it.experiment)
            for name, room in rooms.items():
                if Room(self._nodes[name]).fits(asked):
                    room.withhold(asked)
        self._idle_since = {name: self._idle_since.get(name, now) for name in sorted(idle)}
        for name, since in self._idle_since.items():
            self.longest = max(self.longest, now - since)
            assert now - since <= self._patience, (
                f"{name} has waited for {now - since:g} beside what it needs"
            )


def _ahead(one: Queued, other: Queued) -> bool:
    return (-one.priority, one.create_time) < (-other.priority, other.create_time)

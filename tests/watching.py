"""What is promised of scheduling, held against what is seen from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.placement import Amounts, Room, filled
from ipserver.store.records import Queued


class Watch:
    """Looks at what is taken and at what waits, now and then; AssertionError where a promise is broken.

    Args:
        nodes: What each node has.
        patience: For how long something may wait beside what it needs, on the clock of `look`.
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
        """Judge one picture.

        Args:
            now: When it was taken.
            taken: What is in use on each node.
            queued: What waits, most urgent first.
            started: Experiments of which a pack has got a place since the last look, with its node.
        """
        rooms = {name: filled(amounts, taken.get(name, ())) for name, amounts in self._nodes.items()}
        self._most_urgent_first(rooms, queued, started)
        self._nothing_idle(now, rooms, queued)
        self._waited = {it.experiment: it for it in queued}

    def _most_urgent_first(
        self, rooms: Mapping[str, Room], queued: Sequence[Queued], started: Mapping[str, str]
    ) -> None:
        """Nobody has got a place beside which a more urgent one, which waits on, would have had its own."""
        for name, node in started.items():
            mine = self._waited.get(name)
            for it in queued if mine is not None else ():
                before = self._waited.get(it.experiment)
                if before is None or not _ahead(before, mine):
                    continue
                asked = ResourceRequest.of(it.shape)
                assert not rooms[node].fits(asked), f"{name} started where {it.experiment} has room"

    def _nothing_idle(self, now: float, rooms: Mapping[str, Room], queued: Sequence[Queued]) -> None:
        """What fits in what is free, beside all that more urgent ones may wait for, starts soon."""
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

"""Scheduling policy: which pack starts next and where, and which packs make room. A pure function.

All dispatchers of a cluster decide from the same board (`ipserver.store.transactions.board`), so it does not
matter which of them decides. The function goes through the waiting packs, most urgent first:

- A pack that fits beside all leased packs starts.
- If a pack would fit in place of less urgent packs, these make room, and the freed resources are reserved for
  it. A pack makes room only for a pack of strictly higher priority that then really fits.
- The first pack that must wait for packs of equal or higher priority reserves the free resources that it
  needs on one node (if some of each is free there), so that smaller packs cannot starve it. Others start
  beside it.
- A pack for which no node has room may be placed to wait for a node that an autoscaler adds, one per kind.
  If a present node could hold it, room is made and resources are reserved for it as for a waiting pack, since
  the autoscaler may be unable to add a node.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.placement import Amounts, Cluster, Room, filled

# Packs of one experiment for which room is made at a time: enough to be quick, few enough to be cheap.
_ROOM_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Holding:
    """A leased pack.

    Attributes:
        asked: Resources that it uses.
        priority: Priority of its experiment.
        node: Name of its node; "": it waits for a node to be added.
        leaving: Whether it is already marked to make room.
    """

    asked: ResourceRequest
    priority: int
    node: str
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """Waiting packs of one experiment.

    Attributes:
        asked: Resources that each of them asks for.
        priority: Priority of the experiment.
        packs: Number of packs.
    """

    asked: ResourceRequest
    priority: int
    packs: int = 1


@dataclass(frozen=True, slots=True)
class Start:
    """The pack to start next.

    Attributes:
        demand: Index of its demand.
        node: Node with room for it; "": it is to wait for a node to be added.
    """

    demand: int
    node: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """A decision.

    Attributes:
        start: The pack to start; None: none can.
        giving: Indices of holdings that must make room, each with the index of the demand that needs it; ~i
            stands for holding i, which waits for a node.
            If a pack starts, holdings that would make room for less urgent demands follow in the next call.
    """

    start: Start | None
    giving: Mapping[int, int]


@dataclass(slots=True)
class _Space:
    """One node with the resources taken on it, and its room (computed again when they change)."""

    amounts: Amounts
    taken: list[ResourceRequest] = field(default_factory=list)
    reserved: list[ResourceRequest] = field(default_factory=list)
    _room: Room | None = None

    def room(self) -> Room:
        if self._room is None:
            self._room = filled(self.amounts, self.taken)
            for asked in self.reserved:
                self._room.withhold(asked)
        return self._room

    def take(self, asked: ResourceRequest) -> None:
        self.taken.append(asked)
        self._room = None

    def leave(self, asked: ResourceRequest) -> None:
        self.taken.remove(asked)
        self._room = None

    def reserve(self, asked: ResourceRequest) -> None:
        self.reserved.append(asked)
        self._room = None

    def fits_without(self, leaving: Sequence[ResourceRequest], asked: ResourceRequest) -> bool:
        taken = list(self.taken)
        for gone in leaving:
            taken.remove(gone)
        return _Space(self.amounts, taken, self.reserved).room().fits(asked)


def schedule(
    cluster: Cluster,
    held: Sequence[Holding],
    demands: Sequence[Demand],
    kept: Collection[tuple[ResourceRequest, str]] = (),
) -> Schedule:
    """Decide what to do now.

    Args:
        cluster: Its nodes, with names.
        held: Leased packs of all dispatchers, most urgent first; packs on other nodes are ignored.
        demands: Waiting packs, most urgent first.
        kept: Sizes and nodes of workers that are kept for another pack; these nodes are preferred.
    """
    return _Walk(cluster, held, kept).through(demands)


class _Walk:
    """One walk through the demands. `now` holds resources taken at present, `later` after making room."""

    def __init__(
        self, cluster: Cluster, held: Sequence[Holding], kept: Collection[tuple[ResourceRequest, str]]
    ) -> None:
        self._cluster = cluster
        self._held = held
        self._kept = kept
        self._now = {name: _Space(amounts) for name, amounts in cluster.named().items()}
        self._later = {name: _Space(amounts) for name, amounts in cluster.named().items()}
        for it in held:
            if it.node in self._now:
                self._now[it.node].take(it.asked)
                if not it.leaving:
                    self._later[it.node].take(it.asked)
        self._giving: dict[int, int] = {}
        self._reserved = False

    def through(self, demands: Sequence[Demand]) -> Schedule:
        # Leased packs that wait for a node take any node that becomes free, first among equal priorities.
        waiting = [
            (~position, Demand(it.asked, it.priority))
            for position, it in enumerate(self._held)
            if not it.node and not it.leaving
        ]
        waiting += enumerate(demands)
        waiting.sort(key=lambda entry: -entry[1].priority)
        hopeless: list[ResourceRequest] = []
        for place, demand in waiting:
            for _ in range(min(demand.packs, _ROOM_AT_ONCE)):
                if demand.asked in hopeless:
                    break  # a more urgent pack of this shape found no room
                home = self._home(self._now, demand.asked)
                if home is not None and place >= 0:
                    return Schedule(Start(place, home), self._giving)
                if home is not None:
                    self._now[home].take(demand.asked)
                    self._later[home].take(demand.asked)
                elif not self._makes_room(demand, place):
                    hopeless.append(demand.asked)
                    if place >= 0 and self._asks_for_node(demand, place):
                        return Schedule(Start(place, ""), self._giving)
                    self._reserve(demand.asked)
        return Schedule(None, self._giving)

    def _home(self, spaces: Mapping[str, _Space], asked: ResourceRequest) -> str | None:
        """The node on which a pack should run; None if it fits on none."""
        fitting = [name for name, space in spaces.items() if space.room().fits(asked)]
        return min(fitting, key=lambda name: self._rank(name, spaces[name], asked), default=None)

    def _rank(self, name: str, space: _Space, asked: ResourceRequest) -> tuple[bool, bool, float]:
        """Rank of a node: kept workers first, then no GPUs for packs without, then the fullest node."""
        kept = any(node == name and size == asked for size, node in self._kept)
        return not kept, not asked.gpus and space.amounts.get("gpus", 0.0) > 0, space.room().cpus()

    def _makes_room(self, demand: Demand, place: int) -> bool:
        """Whether a pack fits once less urgent packs have left; if so, mark them and reserve the room."""
        home = self._home(self._later, demand.asked)
        if home is None:
            found = [it for name in self._later if (it := self._victims(name, demand)) is not None]
            if not found:
                return False
            # Among equal costs, prefer the node on which the next pass would place it.
            home, victims = min(
                found, key=lambda it: (self._cost(it[1]), self._rank_later(it[0], it[1], demand.asked))
            )
            for position in victims:
                self._giving[position] = place
                self._later[home].leave(self._held[position].asked)
        self._later[home].take(demand.asked)
        self._now[home].reserve(demand.asked)
        return True

    def _rank_later(
        self, name: str, victims: Sequence[int], asked: ResourceRequest
    ) -> tuple[bool, bool, float]:
        space = self._later[name]
        taken = list(space.taken)
        for position in victims:
            taken.remove(self._held[position].asked)
        return self._rank(name, _Space(space.amounts, taken, space.reserved), asked)

    def _cost(self, victims: Sequence[int]) -> list[int]:
        """Cost of making room: priorities of the packs that would leave, highest first."""
        return sorted((self._held[position].priority for position in victims), reverse=True)

    def _victims(self, name: str, demand: Demand) -> tuple[str, list[int]] | None:
        """The least urgent packs that must leave a node, no more than needed; None if that does not help."""
        candidates = [
            position
            for position, it in enumerate(self._held)
            if it.node == name
            and not it.leaving
            and position not in self._giving
            and it.priority < demand.priority
        ]
        space, leaving = self._later[name], list(candidates)
        if not space.fits_without([self._held[it].asked for it in leaving], demand.asked):
            return None
        for position in candidates:  # most urgent first: can it stay?
            rest = [it for it in leaving if it != position]
            if space.fits_without([self._held[it].asked for it in rest], demand.asked):
                leaving = rest
        return name, leaving

    def _asks_for_node(self, demand: Demand, place: int) -> bool:
        """Whether a pack may be placed to wait for a node; a less urgent one that waits makes room."""
        kind = self._cluster.kind(demand.asked)
        if kind is None:
            return False
        for position, it in enumerate(self._held):
            if not it.node and self._cluster.kind(it.asked) == kind:
                if it.priority < demand.priority and not it.leaving and position not in self._giving:
                    self._giving[position] = place
                return False
        return True

    def _reserve(self, asked: ResourceRequest) -> None:
        """Reserve free resources for the first pack that must wait, on the node with most of them free."""
        if self._reserved:
            return
        possible = [
            name
            for name, space in self._now.items()
            if Room(space.amounts).fits(asked) and space.room().has_some(asked)
        ]
        if possible:
            home = max(possible, key=lambda name: self._now[name].room().cpus())
            self._now[home].reserve(asked)
            self._later[home].reserve(asked)
            self._reserved = True

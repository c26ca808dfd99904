"""Which pack starts next, where, and which packs make room: a pure function of what trains and what waits.

Every dispatcher of a cluster asks it about the same picture, which the store keeps (`ipserver.store.board`):
it does not matter which of them asks. It goes through what waits, the most urgent first:

- What fits beside everything else starts.
- What would fit in the place of less urgent packs gets it: they give way, and nobody less urgent takes what
  becomes free meanwhile. A pack gives way only to one of strictly higher priority that really fits then.
- The first one that has to wait for its equals or betters keeps what is free on a node of what it needs (if a
  part of all of it is free there), so that smaller packs cannot starve it. Others start beside it.
- What no node has room for may be placed to wait for a node that an autoscaler adds: one for each kind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.placement import Amounts, Cluster, Room, filled

# Nobody gives way to more packs of one experiment at a time: enough to be quick, few enough to be cheap.
_ROOM_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Holding:
    """A pack that some dispatcher has.

    Attributes:
        asked: What it uses.
        priority: Of its experiment.
        node: Name of the node it lies on; "": it waits for a node to be added.
        leaving: Whether it makes room already.
    """

    asked: ResourceRequest
    priority: int
    node: str
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """Packs of one experiment that wait.

    Attributes:
        asked: What each of them asks for.
        priority: Of the experiment.
        packs: How many.
    """

    asked: ResourceRequest
    priority: int
    packs: int = 1


@dataclass(frozen=True, slots=True)
class Start:
    """The pack to start next.

    Attributes:
        demand: Position of its demand.
        node: Where it has room; "": it is to wait for a node to be added.
    """

    demand: int
    node: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is to be done.

    Attributes:
        start: What starts; None: nothing can.
        giving: Holdings that make room from now on, by position, each with the position of the demand it does
            so for. Where something starts, those of less urgent demands follow when it has.
    """

    start: Start | None
    giving: Mapping[int, int]


@dataclass(slots=True)
class _Space:
    """One node: what is taken of it, and its room (made anew when that changes)."""

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
    """What is to be done now.

    Args:
        cluster: Its nodes, with names.
        held: Packs in hand, of all dispatchers, most urgent first; those on other nodes are ignored.
        demands: What waits, most urgent first.
        kept: Sizes of the workers that wait for another pack, with their nodes: preferred.
    """
    return _Walk(cluster, held, kept).through(demands)


class _Walk:
    """One way through what waits: `now` holds what is taken at present, `later` what is when room is made."""

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
        # Those in hand that wait for a node take any that becomes free: first among their equals.
        waiting = [(it.priority, -1, Demand(it.asked, it.priority)) for it in self._held if not it.node]
        waiting += [(demand.priority, place, demand) for place, demand in enumerate(demands)]
        waiting.sort(key=lambda entry: (-entry[0], entry[1]))
        hopeless: list[ResourceRequest] = []
        for _, place, demand in waiting:
            for _ in range(min(demand.packs, _ROOM_AT_ONCE)):
                if demand.asked in hopeless:
                    break  # a more urgent one like it found nothing
                home = self._home(self._now, demand.asked)
                if home is not None and place >= 0:
                    return Schedule(Start(place, home), self._giving)
                if home is not None:
                    self._now[home].take(demand.asked)
                    self._later[home].take(demand.asked)
                elif place >= 0 and not self._makes_room(demand, place):
                    hopeless.append(demand.asked)
                    if self._asks_for_node(demand, place):
                        return Schedule(Start(place, ""), self._giving)
                    self._reserve(demand.asked)
        return Schedule(None, self._giving)

    def _home(self, spaces: Mapping[str, _Space], asked: ResourceRequest) -> str | None:
        """The node on which a pack should lie; None: it fits on none."""
        fitting = [name for name, space in spaces.items() if space.room().fits(asked)]
        return min(fitting, key=lambda name: self._rank(name, spaces[name], asked), default=None)

    def _rank(self, name: str, space: _Space, asked: ResourceRequest) -> tuple[bool, bool, float]:
        """A kept worker first; no GPU's node for a pack without; then the fullest: large rooms stay whole."""
        kept = any(node == name and size == asked for size, node in self._kept)
        return not kept, not asked.gpus and space.amounts.get("gpus", 0.0) > 0, space.room().cpus()

    def _makes_room(self, demand: Demand, place: int) -> bool:
        """Whether a pack fits once less urgent ones are gone; they go, and what they leave is kept for it."""
        home = self._home(self._later, demand.asked)
        if home is None:
            found = [it for name in self._later if (it := self._victims(name, demand)) is not None]
            if not found:
                return False
            # Of equal cost: where it would lie once they have gone, so that the next look agrees.
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
        """Priorities of those that would give way, the highest first: what is lost by it."""
        return sorted((self._held[position].priority for position in victims), reverse=True)

    def _victims(self, name: str, demand: Demand) -> tuple[str, list[int]] | None:
        """Who would have to leave a node: the least urgent, none without need; None: it would be in vain."""
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
        for position in candidates:  # the most urgent first: may it stay?
            rest = [it for it in leaving if it != position]
            if space.fits_without([self._held[it].asked for it in rest], demand.asked):
                leaving = rest
        return name, leaving

    def _asks_for_node(self, demand: Demand, place: int) -> bool:
        """Whether a pack may be placed to wait for a node; a less urgent one that does gives way to it."""
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
        """Keep for the first that has to wait what is free on the node where most is."""
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

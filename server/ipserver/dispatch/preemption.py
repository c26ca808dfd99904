"""Which packs make room for more urgent ones when the cluster is full: pure functions.

A pack gives way only to one of strictly higher priority, and only if that one really fits on a node then. It
waits again, and goes on later from a checkpoint. It cannot take its place back from its betters or equals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ipserver.dispatch.jobs import ResourceRequest
from ipserver.dispatch.placement import Claim, Cluster


@dataclass(frozen=True, slots=True)
class Holding:
    """A pack in hand.

    Attributes:
        asked: What it uses, or waits for.
        priority: Of its experiment.
        node: Name of the node it lies on; "": it waits for its resources.
        leaving: Whether it is given back already, at its next slice boundary.
    """

    asked: ResourceRequest
    priority: int
    node: str
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """A pack that waits, in hand or not.

    Attributes:
        asked: What it asks for.
        priority: Of its experiment.
    """

    asked: ResourceRequest
    priority: int


@dataclass(frozen=True, slots=True)
class Room:
    """How room is made.

    Attributes:
        giving: Packs in hand to be given back now, by position, each with the position of the demand that it
            makes room for; -1: a pack in hand that waits for its resources.
        kept_for: Positions of the demands whose room is being made: nobody less urgent may take it.
    """

    giving: Mapping[int, int]
    kept_for: frozenset[int]


def make_room(cluster: Cluster, held: Sequence[Holding], demands: Sequence[Demand]) -> Room:
    """Which packs give way, for as many demands as can be served so.

    Every demand, most urgent first, takes what is free, and else the place of less urgent packs: the least
    urgent ones, and none without need.

    Args:
        cluster: Its nodes, with names.
        held: Packs in hand, most urgent first.
        demands: Packs that wait for a worker, most urgent first.
    """
    waiting = [(demand, place) for place, demand in enumerate(demands)]
    waiting += [(Demand(it.asked, it.priority), -1) for it in held if not it.node and not it.leaving]
    # The ones in hand are first among equals: they have been promised their place.
    waiting.sort(key=lambda entry: (-entry[0].priority, entry[1] >= 0))
    giving: dict[int, int] = {}
    kept_for: set[int] = set()
    promised: list[ResourceRequest] = []
    stuck: list[ResourceRequest] = []
    for demand, place in waiting:
        staying = [
            (position, it)
            for position, it in enumerate(held)
            if not it.leaving and position not in giving and (it.node or it.priority < demand.priority)
        ]
        kept = [it for _, it in staying if it.priority >= demand.priority]
        if not _fits(cluster, demand.asked, kept, promised, stuck):
            if place < 0:
                stuck.append(demand.asked)
            continue
        for position, it in sorted(staying, key=lambda entry: (-entry[1].priority, not entry[1].node)):
            if it.priority >= demand.priority:
                continue
            if _fits(cluster, demand.asked, [*kept, it], promised, stuck):
                kept.append(it)
            else:
                giving[position] = place
        leaving = [it for position, it in enumerate(held) if it.leaving or position in giving]
        if place >= 0 and not _fits(cluster, demand.asked, [*kept, *leaving], promised, stuck):
            kept_for.add(place)
        promised.append(demand.asked)
    return Room(giving, frozenset(kept_for))


def _fits(
    cluster: Cluster,
    asked: ResourceRequest,
    holdings: Sequence[Holding],
    promised: Sequence[ResourceRequest],
    stuck: Sequence[ResourceRequest],
) -> bool:
    """Whether a pack could start beside these: on one node, and without taking what is kept for others.

    Args:
        cluster: The nodes.
        asked: By the pack.
        holdings: Packs that lie on their nodes or wait for them.
        promised: More urgent packs that find room.
        stuck: More urgent packs in hand that find none yet; what they wait for is kept for them.
    """
    pending = [it.asked for it in holdings if not it.node]
    claims = [Claim(it.asked, started=True) for it in holdings if it.node]
    claims += [Claim(it, started=False) for it in (*promised, *stuck, *pending)]
    left = cluster.left(claims)
    if any(left.get(name, 0.0) < amount for name, amount in asked.amounts().items()):
        return False
    room = {name: dict(amounts) for name, amounts in cluster.named().items()}
    for it in holdings:
        if it.node in room:
            _take(room[it.node], it.asked)
    for more_urgent in (*promised, *pending):
        home = next((free for free in room.values() if more_urgent.packs_within(free) > 0), None)
        if home is not None:
            _take(home, more_urgent)
    return any(asked.packs_within(free) > 0 for free in room.values())


def _take(free: dict[str, float], asked: ResourceRequest) -> None:
    for name, amount in asked.amounts().items():
        free[name] = round(free.get(name, 0.0) - amount, 4)

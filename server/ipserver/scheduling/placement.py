"""Nodes, what is free on them, and what fits: exact arithmetic, no policy (`schedule` decides)."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ipserver.request.resources import ResourceRequest

Amounts = Mapping[str, float]
# Amounts are multiples of 0.0001, as in Ray. Doubles only come near: ten packs of 0.1 cores fill a core.
_UNITS = 10_000


class Room:
    """What is free on one node, in whole units of 0.0001.

    A GPU is not an amount but a device: a pack that asks for a part of one lies on one device, and a pack
    that asks for whole ones needs them empty. Two packs of 0.6 GPUs fill two devices, though 0.8 are left.
    On which device Ray puts a part is not known here; as Ray does, the fullest with room is taken for it.

    >>> room = Room({"cpus": 4.0, "gpus": 2.0})
    >>> half = ResourceRequest(cpus=1, gpus=0.6)
    >>> room.take(half), room.take(half), room.fits(half)
    (None, None, False)
    """

    def __init__(self, amounts: Amounts) -> None:
        self._free = {name: _units(amount) for name, amount in amounts.items() if name != "gpus"}
        whole, part = divmod(_units(amounts.get("gpus", 0.0)), _UNITS)
        self._devices = [_UNITS] * whole + [part] * (part > 0)

    def fits(self, asked: ResourceRequest) -> bool:
        """Whether there is room for a pack."""
        for name, amount in asked.amounts().items():
            units = _units(amount)
            if name != "gpus":
                if self._free.get(name, 0) < units:
                    return False
            elif units > _UNITS:
                if self._devices.count(_UNITS) * _UNITS < units:
                    return False
            elif not any(device >= units for device in self._devices):
                return False
        return True

    def take(self, asked: ResourceRequest) -> None:
        """Give a pack its room; what is not there is owed, and missing for the next ones."""
        for name, amount in asked.amounts().items():
            units = _units(amount)
            if name != "gpus":
                self._free[name] = self._free.get(name, 0) - units
                continue
            while units > 0 and self._devices:
                part = min(units, _UNITS)
                fitting = [place for place, device in enumerate(self._devices) if device >= part]
                place = min(fitting, key=self._devices.__getitem__) if fitting else self._emptiest()
                self._devices[place] -= part
                units -= part

    def withhold(self, asked: ResourceRequest) -> None:
        """Take what is there of what a pack asks for, to keep it for that pack."""
        for name, amount in asked.amounts().items():
            units = _units(amount)
            if name != "gpus":
                self._free[name] = self._free.get(name, 0) - max(0, min(self._free.get(name, 0), units))
                continue
            for _ in range(-(-units // _UNITS)):
                place = self._emptiest()
                self._devices[place] -= max(0, min(self._devices[place], units, _UNITS))

    def has_some(self, asked: ResourceRequest) -> bool:
        """Whether a part of all that a pack asks for is free."""
        return all(
            any(device > 0 for device in self._devices) if name == "gpus" else self._free.get(name, 0) > 0
            for name in asked.amounts()
        )

    def cpus(self) -> float:
        """Cores that are free; may be below 0."""
        return self._free.get("cpus", 0) / _UNITS

    def _emptiest(self) -> int:
        return max(range(len(self._devices)), key=self._devices.__getitem__)


def filled(amounts: Amounts, packs: Iterable[ResourceRequest]) -> Room:
    """A node's room beside these packs, whole GPUs and large parts first: so they are sure to find room."""
    room = Room(amounts)
    for asked in sorted(packs, key=lambda asked: -asked.gpus):
        room.take(asked)
    return room


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes, each as what it has by name ("cpus", "gpus", custom names). A pack lies on one node.

    Attributes:
        nodes: Those that are there.
        expected: One of each kind that an autoscaler can add. It adds nodes for packs that wait for one.
        names: Of the nodes that are there.
    """

    nodes: Sequence[Amounts] = ()
    expected: Sequence[Amounts] = ()
    names: Sequence[str] = ()

    def named(self) -> dict[str, Amounts]:
        """The nodes that are there, by name."""
        return dict(zip(self.names, self.nodes, strict=True))

    def total(self) -> dict[str, float]:
        """What the nodes that are there have together."""
        sums = collections.Counter[str]()
        for node in self.nodes:
            sums.update(node)
        return {"cpus": 0.0, "gpus": 0.0} | dict(sums)

    def slots(self, asked: ResourceRequest) -> int:
        """How many such packs could train at a time if all else were idle, with one node more of each kind.

        >>> Cluster([{"cpus": 4.0}], [{"cpus": 2.0}]).slots(ResourceRequest(cpus=2))
        3
        """
        return sum(asked.packs_within(node) for node in (*self.nodes, *self.expected))

    def holds(self, asked: ResourceRequest) -> bool:
        """Whether a node that is there has what is asked for, whoever uses it now."""
        return any(Room(node).fits(asked) for node in self.nodes)

    def kind(self, asked: ResourceRequest) -> int | None:
        """Which kind of node would be added for such a pack (its place in `expected`); None: none."""
        return next((place for place, node in enumerate(self.expected) if Room(node).fits(asked)), None)

    def could_hold(self, asked: ResourceRequest) -> bool:
        """Whether a node, there or to be added, has what is asked for, whoever uses it now."""
        return self.holds(asked) or self.kind(asked) is not None


def _units(amount: float) -> int:
    return round(amount * _UNITS)

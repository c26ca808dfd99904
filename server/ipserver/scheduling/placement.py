"""Nodes, their free resources, and whether packs fit: exact arithmetic without policy (see `schedule`)."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ipserver.request.resources import ResourceRequest

Amounts = Mapping[str, float]
# Amounts are integer multiples of 0.0001, as in Ray: as floats, ten times 0.1 cores would not fill a core.
_UNITS = 10_000


class Room:
    """Free resources of one node, in integer units of 0.0001.

    GPUs are devices, not amounts: a pack that asks for a part of a GPU runs on one device, and a pack that
    asks for whole GPUs needs empty devices. Two packs of 0.6 GPUs occupy two devices, although 0.8 GPUs are
    free. Which device Ray chooses for a part is not known; as in Ray, the fullest with room is assumed.

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
        """Take a pack's resources. Missing amounts become negative and are missing for later packs."""
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
        """Take the available part of what a pack asks for, to reserve it for that pack."""
        for name, amount in asked.amounts().items():
            units = _units(amount)
            if name != "gpus":
                self._free[name] = self._free.get(name, 0) - max(0, min(self._free.get(name, 0), units))
                continue
            for _ in range(-(-units // _UNITS)):
                place = self._emptiest()
                self._devices[place] -= max(0, min(self._devices[place], units, _UNITS))

    def has_some(self, asked: ResourceRequest) -> bool:
        """Whether some of every resource that a pack asks for is free."""
        return all(
            any(device > 0 for device in self._devices) if name == "gpus" else self._free.get(name, 0) > 0
            for name in asked.amounts()
        )

    def cpus(self) -> float:
        """Number of free cores; may be negative."""
        return self._free.get("cpus", 0) / _UNITS

    def _emptiest(self) -> int:
        return max(range(len(self._devices)), key=self._devices.__getitem__)


def filled(amounts: Amounts, packs: Iterable[ResourceRequest]) -> Room:
    """A node's room beside these packs, placed with whole GPUs and large parts first so that they all fit."""
    room = Room(amounts)
    for asked in sorted(packs, key=lambda asked: -asked.gpus):
        room.take(asked)
    return room


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes, each with its amounts by name ("cpus", "gpus", custom names). A pack runs on one node.

    Attributes:
        nodes: The present nodes.
        expected: One node of each kind that an autoscaler can add for waiting packs.
        names: Names of the present nodes.
    """

    nodes: Sequence[Amounts] = ()
    expected: Sequence[Amounts] = ()
    names: Sequence[str] = ()

    def named(self) -> dict[str, Amounts]:
        """The present nodes by name."""
        return dict(zip(self.names, self.nodes, strict=True))

    def total(self) -> dict[str, float]:
        """Total amounts of the present nodes."""
        sums = collections.Counter[str]()
        for node in self.nodes:
            sums.update(node)
        return {"cpus": 0.0, "gpus": 0.0} | dict(sums)

    def slots(self, asked: ResourceRequest) -> int:
        """Number of such packs that an idle cluster could train at once, with one more node of each kind.

        >>> Cluster([{"cpus": 4.0}], [{"cpus": 2.0}]).slots(ResourceRequest(cpus=2))
        3
        """
        return sum(asked.packs_within(node) for node in (*self.nodes, *self.expected))

    def holds(self, asked: ResourceRequest) -> bool:
        """Whether a present node has the requested amounts, used or not."""
        return any(Room(node).fits(asked) for node in self.nodes)

    def kind(self, asked: ResourceRequest) -> int | None:
        """Index in `expected` of the kind of node that would be added for such a pack; None: no kind fits."""
        return next((place for place, node in enumerate(self.expected) if Room(node).fits(asked)), None)

    def could_hold(self, asked: ResourceRequest) -> bool:
        """Whether a node, present or expected, has the requested amounts, used or not."""
        return self.holds(asked) or self.kind(asked) is not None


def _units(amount: float) -> int:
    return round(amount * _UNITS)

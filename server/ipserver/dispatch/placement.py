"""Which packs may be started: pure functions of what nodes have and what packs ask for.

What a pack will get is decided by Ray; here it is decided only how much is asked of it at a time.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ipserver.dispatch.jobs import ResourceRequest

Amounts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a placed pack uses, or will use when it has started."""

    asked: ResourceRequest
    started: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes, each as what it has by name ("cpus", "gpus", custom names). A pack lies on one node.

    Attributes:
        nodes: Those that are there.
        expected: One of each kind that an autoscaler can add. It adds nodes for packs that wait for one.
        names: Of the nodes that are there; needed only by those who ask what lies where.
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
        """Whether a node that is there has what is asked for."""
        return any(asked.packs_within(node) for node in self.nodes)

    def expects(self, asked: ResourceRequest) -> bool:
        """Whether a node that can be added has what is asked for."""
        return any(asked.packs_within(node) for node in self.expected)

    def could_hold(self, asked: ResourceRequest) -> bool:
        """Whether a node, there or to be added, has what is asked for, whoever uses it now."""
        return self.holds(asked) or self.expects(asked)

    def left(self, claims: Sequence[Claim]) -> dict[str, float]:
        """What the nodes that are there have beyond the claims that they can hold; may be below 0."""
        left = collections.Counter(self.total())
        for claim in claims:
            if self.holds(claim.asked):
                left.subtract(claim.asked.amounts())
        # Amounts are multiples of 0.0001, as in Ray; ten packs of 0.1 cores fill a core.
        return {name: round(amount, 4) for name, amount in left.items()}

    def may_start(self, asked: ResourceRequest, claims: Sequence[Claim]) -> bool:
        """Whether a pack may be started now, perhaps to wait for its resources.

        It may if they are free. Or if no other waits where it would, and either a node can be added for it,
        or a part of all that it asks for is free: then the rest is kept for it, and smaller packs cannot
        starve it. Packs that wait for a node to come do not hold up those that train on what is there.

        Args:
            asked: By the pack.
            claims: Of all packs that are placed.
        """
        here = self.holds(asked)
        if not here and not self.expects(asked):
            return False
        waits = any(not claim.started and self.holds(claim.asked) == here for claim in claims)
        if not here:
            return not waits
        left = self.left(claims)
        amounts = asked.amounts()
        if all(left[name] >= amount for name, amount in amounts.items()):
            return True
        return not waits and (self.expects(asked) or all(left[name] > 0 for name in amounts))

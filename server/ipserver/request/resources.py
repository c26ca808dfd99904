"""Resources of one pack: cores, GPUs, custom resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ipserver.store.shapes import amounts_of


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """Resources of one pack.

    Attributes:
        cpus: Cores, > 0. The number of threads is this, rounded up.
        gpus: GPUs; 0 trains on the CPU.
        custom: Further resources by name.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, shape: str) -> ResourceRequest:
        """The request that a shape stands for.

        >>> ResourceRequest.of('{"cpus":2.0,"disk":1.0}')
        ResourceRequest(cpus=2.0, gpus=0.0, custom={'disk': 1.0})
        """
        custom = dict(amounts_of(shape))
        return cls(custom.pop("cpus", 0.0), custom.pop("gpus", 0.0), custom)

    def amounts(self) -> dict[str, float]:
        """Requested amounts > 0 by name ("cpus", "gpus", custom names)."""
        everything = {"cpus": self.cpus, "gpus": self.gpus, **self.custom}
        return {name: amount for name, amount in everything.items() if amount}

    def packs_within(self, there: Mapping[str, float]) -> int:
        """How many such packs fit into the free resources of one node.

        Amounts are compared in units of 0.0001, because doubles only approximate them. A fraction of a GPU is
        on a single device.

        >>> ResourceRequest(cpus=0.1).packs_within({"cpus": 0.3})
        3
        >>> ResourceRequest(gpus=0.6).packs_within({"cpus": 8.0, "gpus": 2.0})
        2
        """
        return min(
            int(there.get(name, 0.0) + 1e-6) * int(1.0 / amount + 1e-6)
            if name == "gpus" and amount < 1
            else int(there.get(name, 0.0) / amount + 1e-6)
            for name, amount in self.amounts().items()
        )

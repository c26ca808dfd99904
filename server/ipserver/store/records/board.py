"""The board of a cluster and the decisions that dispatchers make from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ipserver.names import DEFAULT_PROJECT
from ipserver.store.records.packs import LeasedPack


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased pack and the resources that it uses.

    Attributes:
        shape: Resources that it uses, as text (`ipserver.store.shapes`).
        node: Name of its node; "": it waits for a node to be added.
        leaving: Whether it is marked to make room for a more urgent pack.
    """

    experiment: str
    pack: str
    token: int
    owner: str
    shape: str
    priority: int
    node: str
    leaving: bool
    project: str = DEFAULT_PROJECT

    @property
    def lease(self) -> tuple[str, str, int]:
        """Key of the lease: experiment, pack, token."""
        return self.experiment, self.pack, self.token


@dataclass(frozen=True, slots=True)
class Queued:
    """An experiment with packs that wait for a worker.

    Attributes:
        packs: Number of waiting packs.
    """

    experiment: str
    shape: str
    priority: int
    create_time: float
    packs: int
    project: str = DEFAULT_PROJECT


@dataclass(frozen=True, slots=True)
class Board:
    """Input of scheduling decisions, the same for all dispatchers of a cluster.

    Attributes:
        claims: Leased packs of the cluster whose leases have not expired, most urgent first.
        queued: Waiting experiments, most urgent first: one page, and the first of every shape in every
            project.
    """

    claims: tuple[Claim, ...]
    queued: tuple[Queued, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """A scheduling decision.

    Attributes:
        start: Experiment whose next pack starts, and the node with room for it ("": it waits for a node).
        giving: Leases (experiment, pack, token) of packs to be marked to make room, each with the experiment
            that needs the room.
    """

    start: tuple[str, str] | None = None
    giving: Mapping[tuple[str, str, int], str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.start is not None or bool(self.giving)


@dataclass(frozen=True, slots=True)
class Moved:
    """Outcome of a decision.

    Attributes:
        decided: Whether the decision changed anything.
        pack: The pack that the caller now holds, if any.
        node: The node on which it is to run.
    """

    decided: bool
    pack: LeasedPack | None = None
    node: str = ""

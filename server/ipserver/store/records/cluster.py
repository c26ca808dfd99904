"""Reports of dispatchers on their cluster: resources, datasets, speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipcore.catalogue import DatasetInfo
from ipcore.planning.machine import MachineProfile


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """A dataset as seen by a dispatcher.

    Attributes:
        name: Name in specs.
        problem: Why it cannot be used, or "".
        info: Properties of the dataset; None if it cannot be used.
    """

    name: str
    problem: str
    info: DatasetInfo | None = None


@dataclass(frozen=True, slots=True)
class PlannerReport:
    """Limits and speed by which a dispatcher plans packs.

    Attributes:
        max_pack_runs: Maximum number of runs in a pack.
        max_pack_memory_bytes: Maximum memory of a pack on CPUs, in bytes.
        profile: Measured speed of a worker with one core; None if not measured yet.
    """

    max_pack_runs: int
    max_pack_memory_bytes: int
    profile: MachineProfile | None


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """A dispatcher's newest report on its cluster.

    Attributes:
        resources: Totals of the cluster by name ("cpus", "gpus", custom names).
        datasets: One report per built-in dataset and registered file.
        time: When it was stored.
        data: The data folder; "" if none.
        planner: Limits and speed for planning; None in reports of older dispatchers.
    """

    resources: Mapping[str, float]
    datasets: tuple[DatasetReport, ...]
    time: float = 0.0
    data: str = ""
    planner: PlannerReport | None = None

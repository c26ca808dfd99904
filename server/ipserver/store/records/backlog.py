"""What waits and what trains, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipserver.store.states import PackState


@dataclass(frozen=True, slots=True)
class Queue:
    """Work of all dispatchers.

    Attributes:
        waiting: Packs that wait for a worker, by project; 0 for a project where none waits. Those of paused
            experiments are left out.
        unplanned: Experiments that wait to be planned.
        packs: Number of packs in each state but DONE.
        leased: Number of packs with a valid lease, by shape (`ipserver.store.shapes`).
        totals: Resources of the cluster as last reported ("cpus", "gpus", custom names); {}: not reported.
    """

    waiting: Mapping[str, int]
    unplanned: int
    packs: Mapping[PackState, int]
    leased: Mapping[str, int]
    totals: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Unsent:
    """What MLflow does not hold yet.

    Attributes:
        runs: Number of runs with such data.
        seconds: Age of the oldest such data; 0.0: there are none.
    """

    runs: int
    seconds: float

"""Amounts of waiting, training and unsent work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipserver.store.states import PackState


@dataclass(frozen=True, slots=True)
class Queue:
    """Waiting and training work of all dispatchers.

    Attributes:
        waiting: Number of packs that wait for a worker, by project, including projects with none. Packs of
            paused experiments are not counted.
        unplanned: Number of experiments that wait to be planned.
        packs: Number of packs in each state except DONE.
        leased: Number of packs with a valid lease, by shape (`ipserver.store.shapes`).
        totals: Resources of the cluster as last reported ("cpus", "gpus", custom names); {} if not reported.
    """

    waiting: Mapping[str, int]
    unplanned: int
    packs: Mapping[PackState, int]
    leased: Mapping[str, int]
    totals: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Unsent:
    """Data that MLflow does not hold yet.

    Attributes:
        runs: Number of runs with such data.
        seconds: Age of the oldest such data; 0.0 if there are none.
    """

    runs: int
    seconds: float

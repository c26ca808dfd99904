"""Groups runs into packs: a pure function of runs, costs and the machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from ipcore.catalogue import DatasetInfo
from ipcore.config import PackConfig
from ipcore.limits.cost import Cost
from ipcore.planning.machine import DEFAULT_CPU, MachineProfile
from ipcore.planning.memory import dataset_memory_bytes, pack_memory_bytes
from ipserver.request.limit_runs import CostOf, is_special
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.packs import NewPack
from ipserver.store.records.runs import NewRun, RunRecord

# Cost of a pack besides its updates, in seconds: a lease, a worker's start, files, commits.
START_SECONDS: Final = 0.05
# A pack may be smaller, and by this factor slower per run, than the fastest, to keep more slots busy.
_SPREAD: Final = 1.5
# Sizes within this factor of the fastest count as equal; the smallest is used (shorter slices, less memory).
_AS_FAST: Final = 1.02


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """Constraints of a plan.

    Attributes:
        slots: Number of packs that the cluster can train at once, >= 1.
        max_runs: Maximum number of runs in a pack, >= 1.
        max_bytes: Maximum estimated memory of a pack, in bytes; a pack of one run may exceed it.
        profile: Measured speed of a slot.
    """

    slots: int
    max_runs: int
    max_bytes: int
    profile: MachineProfile = DEFAULT_CPU


@dataclass(frozen=True, slots=True)
class _Group:
    """Runs of equal shape.

    Attributes:
        shape: Shape of all of them.
        config: Configuration of their packs.
        indices: Indices of the runs.
        cost: Cost of the most expensive run, if they are not dense networks and train one after the other.
    """

    shape: NetworkShape
    config: PackConfig
    indices: list[int]
    cost: Cost | None

    def seconds(self, info: DatasetInfo, runs: int, profile: MachineProfile) -> float:
        """Estimated time in seconds of a pack of so many of the runs."""
        return pack_seconds(self.config, info, runs, profile, self.cost)

    def memory(self, info: DatasetInfo, runs: int) -> int:
        """Estimated memory in bytes of a pack of so many of the runs."""
        own = (
            pack_memory_bytes(self.config, info, runs) if self.cost is None else runs * self.cost.memory_bytes
        )
        return own + dataset_memory_bytes(info)


def plan(
    runs: Sequence[tuple[RunRecord | NewRun, PackConfig]],
    info: DatasetInfo,
    limits: PlanLimits,
    first: int = 0,
    cost_of: CostOf | None = None,
) -> list[NewPack]:
    """Group runs of equal shape into packs that train fast, fill the cluster and end together.

    A pack has the size with the least time per run on this machine. It is smaller if the slots would
    otherwise not end together (a pack takes at most about half of a slot's total work), but not so small that
    a run takes much longer. Long packs come first.

    Args:
        runs: Runs with the configurations of their packs, in grid order.
        info: Properties of their dataset.
        limits: Constraints.
        first: Number of the first pack, used in its id.
        cost_of: Cost of a run that is not a dense network; None if all runs are dense.

    Returns:
        Packs, with every run in exactly one. Deterministic.
    """
    by_network = sorted(runs, key=lambda item: (NetworkShape.of(item[0]), item[0].index))
    groups = [
        _group(shape, list(members), cost_of)
        for shape, members in groupby(by_network, key=lambda item: NetworkShape.of(item[0]))
    ]
    sizes = [_sizes(group, info, limits) for group in groups]
    total = sum(len(group.indices) * min(each.values()) for group, each in zip(groups, sizes, strict=True))
    packs: list[tuple[float, _Group, tuple[int, ...]]] = []
    for group, each in zip(groups, sizes, strict=True):
        count = _count(each, total / (2 * limits.slots), len(group.indices), limits.slots)
        parts = _even_parts(group.indices, count)
        packs += [(group.seconds(info, len(part), limits.profile), group, part) for part in parts]
    packs.sort(key=lambda pack: (-pack[0], pack[2]))
    return [
        NewPack(
            id=f"p{number:04d}",
            run_indices=indices,
            **group.shape.values(),
            steps=group.config.steps,
            memory_bytes=group.memory(info, len(indices)),
        )
        for number, (_, group, indices) in enumerate(packs, first)
    ]


def pack_seconds(
    config: PackConfig, info: DatasetInfo, runs: int, profile: MachineProfile, cost: Cost | None = None
) -> float:
    """Estimated time of a pack in seconds. Runs with a `cost` train one after the other."""
    if cost is not None:
        return START_SECONDS + runs * cost.seconds(profile)
    return START_SECONDS + config.steps * profile.update_seconds(config, info, runs)


def _group(
    shape: NetworkShape, members: list[tuple[RunRecord | NewRun, PackConfig]], cost_of: CostOf | None
) -> _Group:
    config = members[0][1]
    dearest: Cost | None = None
    if cost_of is not None and is_special(config):
        costs = [one for one in {cost_of(run) for run, _ in members} if one is not None]
        dearest = max(costs, key=lambda one: one.memory_bytes, default=None)
    return _Group(shape, config, [run.index for run, _ in members], dearest)


def _sizes(group: _Group, info: DatasetInfo, limits: PlanLimits) -> dict[int, float]:
    """Seconds per run for each allowed pack size, by ascending size."""
    seconds = {}
    for size in _candidates(min(len(group.indices), limits.max_runs)):
        if size > 1 and group.memory(info, size) > limits.max_bytes:
            break
        seconds[size] = group.seconds(info, size, limits.profile) / size
    return seconds


def _candidates(most: int) -> Iterator[int]:
    """Pack sizes to try: 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, ... up to the largest."""
    size = 1
    while size < most:
        yield size
        size += max(1, (1 << (size.bit_length() - 1)) // 4)
    yield most


def _count(seconds: dict[int, float], longest: float, runs: int, slots: int) -> int:
    """Number of packs for the runs of one shape.

    Args:
        seconds: Seconds per run by pack size (`_sizes`).
        longest: Longest desired time of a pack in seconds.
        runs: Number of runs.
        slots: Number of packs trained at once.
    """
    best = min(seconds.values())
    fast = next(size for size, each in seconds.items() if each <= _AS_FAST * best)
    least = next(size for size, each in seconds.items() if each <= _SPREAD * best)
    short = [size for size, each in seconds.items() if size <= fast and size * each <= longest]
    wanted = -(-runs // max([least, *short]))
    if wanted > slots:
        wanted = -(-wanted // slots) * slots  # a multiple of the slots, so that all are busy to the end
    # The parts must lie between the least and the largest allowed size.
    return max(min(wanted, max(1, runs // least)), -(-runs // max(seconds)))


def _even_parts(indices: list[int], count: int) -> list[tuple[int, ...]]:
    """Consecutive parts whose lengths differ by at most one."""
    small, larger = divmod(len(indices), count)
    parts, start = [], 0
    for part in range(count):
        end = start + small + (part < larger)
        parts.append(tuple(indices[start:end]))
        start = end
    return parts

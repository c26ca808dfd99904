"""Which runs train together: a pure function of runs, costs and the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ipcore.catalogue import DatasetInfo, output_dim
from ipcore.config import PackConfig
from ipcore.memory import dataset_memory_bytes, pack_memory_bytes
from ipserver.store.records import NewPack, RunRecord


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What the plan must respect.

    Attributes:
        slots: Packs that the cluster can train at a time, >= 1.
        max_runs: Most runs in a pack, >= 1.
        max_bytes: Memory a pack is planned for; a pack of one run may exceed it.
    """

    slots: int
    max_runs: int
    max_bytes: int


# Below this many runs a pack of small networks gains less from sharing than it would from a neighbour core.
_LEAST_RUNS = 4


def step_cost(config: PackConfig, info: DatasetInfo) -> float:
    """Multiply-adds of one update of one run: forward, weight gradients, input gradients (not of layer 1)."""
    first = info.input_dim * config.width
    rest = (config.hidden_layers - 1) * config.width**2 + config.width * output_dim(config.loss, info)
    return config.batch_size * (2.0 * first + 3.0 * rest)


def evaluation_cost(config: PackConfig, info: DatasetInfo) -> float:
    """Multiply-adds of evaluating one run on the test set."""
    hidden = (config.hidden_layers - 1) * config.width**2
    return info.test_size * float(
        info.input_dim * config.width + hidden + config.width * output_dim(config.loss, info)
    )


def plan(
    runs: Sequence[tuple[RunRecord, PackConfig]], info: DatasetInfo, limits: PlanLimits
) -> list[NewPack]:
    """Group runs of equal shape into packs that fill the cluster at once and leave a short tail.

    A pack costs at most about half of what one slot has to do in all, so that the slots end together;
    it is never split below a few runs for that, only for memory. Costly packs come first.

    Args:
        runs: Runs with the configuration of their pack, in grid order.
        info: Of their dataset.
        limits: What to respect.

    Returns:
        Packs; every run is in exactly one. The same input gives the same plan.
    """
    if not runs:
        return []
    total = sum(step_cost(config, info) for _, config in runs)
    pack_cost = total / (2 * limits.slots)
    by_shape = sorted(runs, key=lambda item: (_shape(item[0]), item[0].index))
    packs: list[tuple[float, PackConfig, tuple[int, ...]]] = []
    for _, members in groupby(by_shape, key=lambda item: _shape(item[0])):
        group = list(members)
        config = group[0][1]
        size = _pack_size(config, info, pack_cost, limits)
        count = -(-len(group) // size)
        parts = _even_parts([run.index for run, _ in group], count)
        packs += [(step_cost(config, info) * len(part), config, part) for part in parts]
    packs.sort(key=lambda pack: (-pack[0], pack[2]))
    return [
        NewPack(
            id=f"p{number:04d}",
            run_indices=indices,
            hidden_layers=config.hidden_layers,
            width=config.width,
            activation=config.activation,
            steps=config.steps,
            memory_bytes=_memory(config, info, len(indices)),
        )
        for number, (_, config, indices) in enumerate(packs)
    ]


def _shape(run: RunRecord) -> tuple[int, int, str]:
    return run.hidden_layers, run.width, run.activation


def _memory(config: PackConfig, info: DatasetInfo, runs: int) -> int:
    return pack_memory_bytes(config, info, runs) + dataset_memory_bytes(info)


def _pack_size(config: PackConfig, info: DatasetInfo, pack_cost: float, limits: PlanLimits) -> int:
    size = min(limits.max_runs, max(_LEAST_RUNS, int(pack_cost / step_cost(config, info))))
    while size > 1 and _memory(config, info, size) > limits.max_bytes:
        size -= 1
    return size


def _even_parts(indices: list[int], count: int) -> list[tuple[int, ...]]:
    """Consecutive parts whose lengths differ by at most one."""
    small, larger = divmod(len(indices), count)
    parts, start = [], 0
    for part in range(count):
        end = start + small + (part < larger)
        parts.append(tuple(indices[start:end]))
        start = end
    return parts

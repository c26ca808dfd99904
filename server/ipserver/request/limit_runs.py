"""Runs of infinite width or with deferred weights: their replacement by wider networks, and their cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ipcore.catalogue import DatasetInfo
from ipcore.catalogue.widths import INFINITE_WIDTH, TIMES_WIDER
from ipcore.config import PackConfig
from ipcore.limits import kinds
from ipcore.limits.cost import Cost, cost
from ipcore.limits.limit import Limit, NoLimit
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import pack_config, run_config
from ipserver.request.expand import networks, rates_of
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.runs import NewRun, RunRecord

CostOf = Callable[[RunRecord | NewRun], Cost | None]


def is_special(config: PackConfig) -> bool:
    """Whether its runs have infinite width or deferred weights."""
    return config.infinite_width or config.deferred


def stand_in_of(config: PackConfig, spec: pb.ExperimentSpec, run: RunRecord | NewRun) -> PackConfig | None:
    """The wide network that replaces a run of infinite width; None if its limit is computed or none can."""
    if not config.infinite_width:
        return None
    limit = limit_of_run(config, spec, run)
    if isinstance(limit, Limit) or not limit.wider:
        return None
    width = TIMES_WIDER * max(spec.grid.widths)
    return replace(config, infinite_width=False, replicas=1, deferred=True, width=width)


def of_one_seed(base: pb.ExperimentSpec) -> pb.ExperimentSpec:
    """A copy with a single seed: runs of other seeds have the same limits and costs."""
    spec = pb.ExperimentSpec()
    spec.CopyFrom(base)
    spec.grid.seeds[:] = [0]
    return spec


def limit_runs(spec: pb.ExperimentSpec) -> Iterator[tuple[NetworkShape, int, NewRun]]:
    """Each network of infinite width with each parameterization, as (shape, position of the latter, run)."""
    for network in networks(spec.grid):
        if network.width == INFINITE_WIDTH:
            for position, run in enumerate(one_of_each(spec, network)):
                yield network, position, run


def cost_of(spec: pb.ExperimentSpec, info: DatasetInfo) -> CostOf:
    """A function from a run of a valid spec to its cost; None for runs of dense networks.

    The cost does not depend on rate and seed, so it is computed once for runs that differ only in them.
    """
    known: dict[tuple[NetworkShape, str], Cost | None] = {}

    def found(run: RunRecord | NewRun) -> Cost | None:
        network = NetworkShape.of(run)
        key = network, run.parameterization
        if key not in known:
            config = pack_config(spec, network)
            config = stand_in_of(config, spec, run) or config
            known[key] = cost(config, run_config(spec, run), info) if is_special(config) else None
        return known[key]

    return found


def largest_memory(spec: pb.ExperimentSpec, network: NetworkShape, info: DatasetInfo) -> int:
    """Estimated memory in bytes of the largest run of an infinite-width or deferred network."""
    config = pack_config(spec, network)
    return max(
        cost(stand_in_of(config, spec, run) or config, run_config(spec, run), info).memory_bytes
        for run in one_of_each(spec, network)
    )


def one_of_each(spec: pb.ExperimentSpec, network: NetworkShape) -> Iterator[NewRun]:
    """One run of a network for each parameterization."""
    for entry in spec.grid.parameterizations:
        yield NewRun(
            **network.values(),
            index=0,
            parameterization=entry.label,
            base_learning_rate=rates_of(entry, spec.grid)[0],
            seed=spec.grid.seeds[0],
        )


def limit_of_run(config: PackConfig, spec: pb.ExperimentSpec, run: RunRecord | NewRun) -> Limit | NoLimit:
    """The infinite-width limit of a run of a spec, or why none is computed."""
    return kinds.limit_of_run(config, run_config(spec, run))

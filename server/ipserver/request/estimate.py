"""Estimate of an experiment's training time, from the plan that a dispatcher would make."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ipcore.catalogue import DatasetInfo
from ipcore.config import PackConfig
from ipcore.limits.cost import Cost
from ipcore.planning import kernel_machine
from ipcore.planning.machine import DEFAULT_CPU, DEFAULT_GPU, MachineProfile, evaluation_work
from ipcore.probes.paired import PAIRED_OUTPUTS
from iplab.v1 import spec_pb2
from ipserver.request.convert import pack_config, resource_request
from ipserver.request.limit_runs import cost_of
from ipserver.request.limit_studies import paired_subjects
from ipserver.request.planner import PlanLimits, pack_seconds, plan
from ipserver.store.records.cluster import CapacityReport
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.runs import NewRun

# Largest packs (runs, bytes) when no dispatcher has reported its limits.
_MAX_RUNS, _MAX_BYTES = 256, 4 << 30


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated time.

    Attributes:
        seconds: From the start of the first pack to the end of the last, if nothing else trains.
        basis: The assumptions behind it, as text for users.
    """

    seconds: float
    basis: str


def estimate(
    spec: spec_pb2.ExperimentSpec,
    runs: Sequence[NewRun],
    info: DatasetInfo,
    capacity: CapacityReport | None,
) -> Estimate:
    """Plan an experiment as a dispatcher would, and add up the times of its packs.

    Args:
        spec: Valid, with its defaults filled in.
        runs: Its grid.
        info: Properties of its dataset.
        capacity: The last capacity report; None: one worker of ordinary speed is assumed.
    """
    asked = resource_request(spec)
    planner = capacity.planner if capacity is not None else None
    measured = planner.profile if planner is not None else None
    profile = DEFAULT_GPU if asked.gpus else (measured or DEFAULT_CPU).on_threads(math.ceil(asked.cpus))
    slots = max(1, asked.packs_within(capacity.resources)) if capacity is not None else 1
    limits = PlanLimits(
        slots,
        planner.max_pack_runs if planner is not None else _MAX_RUNS,
        planner.max_pack_memory_bytes if planner is not None else _MAX_BYTES,
        profile,
    )
    configs = {shape: pack_config(spec, shape) for shape in {NetworkShape.of(run) for run in runs}}
    costs = cost_of(spec, info)
    paired = paired_subjects(spec) if PAIRED_OUTPUTS in spec.record.probes.quantities else set()
    packs = plan([(run, configs[NetworkShape.of(run)]) for run in runs], info, limits, cost_of=costs)
    ends = [0.0] * slots
    for pack in packs:
        size = len(pack.run_indices)
        config = configs[NetworkShape.of(pack)]
        dearest = max(
            (one for index in pack.run_indices if (one := costs(runs[index])) is not None),
            key=lambda one: one.work,
            default=None,
        )
        seconds = pack_seconds(config, info, size, profile, dearest)
        seconds += size * _evaluation(config, info, profile, dearest)
        # Runs compared with kernel machines compute those too; runs with the same batches share the kernel.
        if kernel_machine.pairs(config) and dearest is None:
            members = (runs[index] for index in pack.run_indices)
            kernels = {(run.parameterization, run.seed) for run in members if run.parameterization in paired}
            seconds += len(kernels) * kernel_machine.update_work(config, info) / profile.rate
        heapq.heapreplace(ends, ends[0] + seconds)
    speed = (
        "a GPU's data sheet"
        if asked.gpus
        else "the speed that a worker here has measured"
        if measured is not None
        else "the usual speed of a core, since no worker here has measured its own"
    )
    where = f"{slots} worker{'s' * (slots > 1)}" + (
        "" if capacity is not None else " (no dispatcher has reported)"
    )
    what = f"{len(packs)} pack{'s' * (len(packs) > 1)} on {where}"
    return Estimate(max(ends), f"{what}, at {speed}; probes and other experiments come on top")


def _evaluation(config: PackConfig, info: DatasetInfo, profile: MachineProfile, cost: Cost | None) -> float:
    """Seconds of all evaluations of one run."""
    interval = config.evaluation_interval or config.steps
    each = evaluation_work(config, info) / profile.rate if cost is None else cost.evaluation_seconds(profile)
    return (config.steps // interval + 1) * each

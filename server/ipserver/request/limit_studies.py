"""Properties of limits that studies and reports of distances to limits need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ipcore.catalogue import DatasetInfo
from ipcore.catalogue.widths import INFINITE_WIDTH, TIMES_WIDER
from ipcore.limits.cost import Cost, cost
from ipcore.limits.limit import Limit
from ipcore.probes.paired import PAIRED_OUTPUTS
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import pack_config, run_config
from ipserver.request.limit_runs import limit_of_run, limit_runs, of_one_seed, stand_in_of

# Particles of a limit per neuron of the widest network compared with it. P particles fluctuate like a network
# of width P, so four per neuron add an eighth to the distance.
_PARTICLES_PER_NEURON: Final = 4
_UNPAIRED: Final = "the limit starts from a random f_0 of its own, not from that of the network of its seed"


def paired_subjects(base: pb.ExperimentSpec) -> set[str]:
    """Labels whose networks are compared with the kernel machine that starts from their own f_0.

    Args:
        base: Valid.
    """
    spec = of_one_seed(base)
    spec.grid.infinite_width = True
    limits = (
        (limit_of_run(pack_config(spec, network), spec, run), run) for network, _, run in limit_runs(spec)
    )
    return {run.parameterization for limit, run in limits if isinstance(limit, Limit) and limit.is_paired}


def not_compared(spec: pb.ExperimentSpec) -> dict[str, str]:
    """Reason, by label, why networks are not compared with infinite width or its replacement.

    Args:
        spec: Valid, with its defaults.
    """
    one = of_one_seed(spec)
    one.grid.infinite_width = True
    found = {}
    for network, _, run in limit_runs(one):
        limit = limit_of_run(pack_config(one, network), one, run)
        if not isinstance(limit, Limit):
            if not limit.wider:
                found[run.parameterization] = limit.sentence
        elif limit.is_paired:
            found[run.parameterization] = _UNPAIRED + (
                "; no network has recorded how far it is from the limit that starts from its own f_0 yet"
                if PAIRED_OUTPUTS in spec.record.probes.quantities
                else "; the probe paired_outputs compares dense networks with the limit from their own f_0"
            )
    return found


def widest_beside_limit(base: pb.ExperimentSpec) -> int:
    """The largest width that may be compared with limits of as many particles as the spec asks for."""
    spec = of_one_seed(base)
    for network, _, run in limit_runs(spec):
        config = pack_config(spec, network)
        limit = limit_of_run(config, spec, run)
        if isinstance(limit, Limit) and limit.kind == "particles":
            return config.width * config.replicas // _PARTICLES_PER_NEURON
    return INFINITE_WIDTH


def limit_seconds(base: pb.ExperimentSpec, info: DatasetInfo) -> float:
    """Estimated core-seconds of the longest run of infinite width on an ordinary core, with two evaluations.

    0 if no limit is computed, or each network is compared with a kernel machine of its own.
    """
    spec = of_one_seed(base)
    costs = [
        cost(config, run_config(spec, run), info)
        for network, _, run in limit_runs(spec)
        for config in (pack_config(spec, network),)
        for limit in (limit_of_run(config, spec, run),)
        if isinstance(limit, Limit) and not limit.is_paired
    ]
    return max((_seconds(one) for one in costs), default=0.0)


@dataclass(frozen=True, slots=True)
class StandIn:
    """Cost of the most expensive of the wide networks that replace limits.

    Attributes:
        width: Their width.
        memory_bytes: Memory in bytes of one run.
        seconds: Core-seconds of one run on an ordinary core, with two evaluations.
    """

    width: int
    memory_bytes: int
    seconds: float


def stand_in(base: pb.ExperimentSpec, info: DatasetInfo, width: int) -> StandIn | None:
    """The networks that replace limits for networks up to a width; None if all limits are computed."""
    spec = of_one_seed(base)
    spec.grid.widths[:] = [width]
    costs = [
        cost(wider, run_config(spec, run), info)
        for network, _, run in limit_runs(spec)
        if (wider := stand_in_of(pack_config(spec, network), spec, run)) is not None
    ]
    if not costs:
        return None
    return StandIn(TIMES_WIDER * width, max(one.memory_bytes for one in costs), max(map(_seconds, costs)))


def _seconds(one: Cost) -> float:
    return one.seconds() + 2 * one.evaluation_seconds()

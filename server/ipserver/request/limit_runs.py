"""Runs of infinite width or with deferred weights: what of a spec they cannot have, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from ipcore.analysis.output_distance import TIMES_WIDER
from ipcore.catalogue import DatasetInfo
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.config import PackConfig
from ipcore.limits.cost import Cost, cost
from ipcore.limits.kinds import Limit, NoLimit, limit_of
from ipcore.limits.problems import limit_problems
from iplab.v1 import spec_pb2 as pb
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.request.convert import DEFERRING, pack_config, run_config
from ipserver.request.expand import networks, rates_of
from ipserver.request.problems import Problems, unknown
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.runs import NewRun, RunRecord

CostOf = Callable[[RunRecord | NewRun], Cost | None]
# Fields of `PackConfig` and `RunConfig` that a spec has elsewhere; others are fields of the spec itself.
_PLACES: Final = {
    "optimizer": "optimizer.name",
    "settings.weight_decay": "optimizer.weight_decay",
    "weights": "record.weights",
    "probes": "record.probes",
}


def is_special(config: PackConfig) -> bool:
    """Whether its runs are no dense networks."""
    return config.infinite_width or config.deferred


def check_particles(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """What is asked of infinite width and of deferred weights makes sense by itself."""
    if spec.HasField("infinite_width") and not spec.grid.infinite_width:
        problems.add(
            f"{path}.infinite_width", "is used only with inf among the widths; add it or remove this"
        )
    asked = spec.deferred_weights
    if asked and asked not in DEFERRING:
        problems.add(f"{path}.deferred_weights", unknown("choice", asked, DEFERRING))


def check_limits(
    spec: pb.ExperimentSpec,
    info: DatasetInfo,
    path: str,
    limits: Limits,
    problems: Problems,
    *,
    stand_ins: bool = False,
) -> None:
    """Every run of infinite width has a limit that is computed here, and every deferred one can be.

    Args:
        spec: Valid in all other respects, with its defaults.
        info: Properties of its dataset.
        path: Of the spec.
        limits: Of this service.
        problems: Where to note what is wrong.
        stand_ins: Whether far wider networks may stand for limits that are not computed.
    """
    found: dict[tuple[str, str], None] = {}
    for network in networks(spec.grid):
        config = pack_config(spec, network)
        if not is_special(config):
            continue
        for position, run in enumerate(_one_of_each(spec, network)):
            if stand_ins and (wider := _stand_in(config, spec, run)) is not None:
                found |= dict.fromkeys(_stand_in_problems(spec, network, position, wider, run, info, limits))
                continue
            for field, text in limit_problems(
                config, run_config(spec, run), info, limits.max_run_memory_bytes
            ):
                found[_place(spec, network, position, field), text] = None
    for place, text in found:
        problems.add(f"{path}.{place}", text)


def _stand_in_problems(
    spec: pb.ExperimentSpec,
    network: NetworkShape,
    position: int,
    wider: PackConfig,
    run: NewRun,
    info: DatasetInfo,
    limits: Limits,
) -> Iterator[tuple[str, str]]:
    """What is wrong with a network that stands for infinite width: (path in the spec, sentence)."""
    most = max(spec.grid.widths)
    widest = f"grid.widths[{list(spec.grid.widths).index(most)}]"
    about = f"width {most:,} is held against a network of width {wider.width:,} with deferred weights, which"
    if wider.width > limits.max_width:
        allowed = limits.max_width // TIMES_WIDER
        yield (
            widest,
            f"{about} is more than the {limits.max_width:,} that this service allows: go up to width "
            f"{allowed:,}",
        )
        return
    memory = limits.max_run_memory_bytes
    for field, text in limit_problems(wider, run_config(spec, run), info, memory):
        if field == "width":
            yield widest, f"{about} {text}"
        else:
            yield _place(spec, network, position, field), text


def limit_warnings(spec: pb.ExperimentSpec) -> list[str]:
    """What to know of the limits of a valid spec before one reads their numbers."""
    said: dict[str, None] = {}
    for network in networks(spec.grid):
        config = pack_config(spec, network)
        if not config.infinite_width:
            continue
        for run in _one_of_each(spec, network):
            limit = _limit(config, spec, run)
            of = f"width inf, {run.parameterization}, {run.hidden_layers} hidden layers, {run.activation}"
            if not isinstance(limit, Limit):
                said[
                    f"{of}: {TIMES_WIDER} times wider networks stand for the limit, with deferred weights"
                ] = None
                continue
            said |= {f"{of}: {note}": None for note in limit.notes}
            if limit.kind == "particles" and config.replicas == 1:
                said["with one replica the particles' own error is not known: ask for at least 2"] = None
    return list(said)


# Particles of a limit for each neuron of the widest network beside it: as random as a network of their
# number, they add an eighth to its distance.
_PARTICLES_PER_NEURON: Final = 4


def unpaired_limits(base: pb.ExperimentSpec) -> Iterator[tuple[str, str]]:
    """Subjects of a study whose losses do not come near those of their limits seed by seed.

    Args:
        base: Valid, of a study of distances to limits.

    Yields:
        (path in the spec, what is wrong).
    """
    spec = _of_one_seed(base)
    found: dict[tuple[str, str], None] = {}
    for network, position, run in _limit_runs(spec):
        limit = _limit(pack_config(spec, network), spec, run)
        if isinstance(limit, Limit) and not limit.starts_at_zero:
            text = (
                f"the limit of {run.parameterization} starts from a random f_0, not from that of the network "
                "of its seed, so that losses differ at any width: for a kernel machine ask for up:1/4, which "
                "starts from f_0 = 0"
            )
            found[f"grid.parameterizations[{position}]", text] = None
    yield from found


def not_compared(spec: pb.ExperimentSpec) -> dict[str, str]:
    """Labels whose networks are not held against infinite width, or a width that stands for it, and why.

    Args:
        spec: Valid, with its defaults.
    """
    one = _of_one_seed(spec)
    one.grid.infinite_width = True
    found = {}
    for network, _, run in _limit_runs(one):
        limit = _limit(pack_config(one, network), one, run)
        if not isinstance(limit, Limit):
            if not limit.wider:
                found[run.parameterization] = limit.sentence
        elif not limit.starts_at_zero:
            found[run.parameterization] = (
                "the limit starts from a random f_0 of its own, not from that of the network of its seed, so "
                "distances do not fall; up:1/4 has the same kernel and starts from 0"
            )
    return found


def widest_beside_limit(base: pb.ExperimentSpec) -> int:
    """The width up to which the particles of a limit are many enough for the networks beside it."""
    spec = _of_one_seed(base)
    for network, _, run in _limit_runs(spec):
        config = pack_config(spec, network)
        if _stand_in(config, spec, run) is None:
            return config.width * config.replicas // _PARTICLES_PER_NEURON
    return INFINITE_WIDTH


def limit_seconds(base: pb.ExperimentSpec, info: DatasetInfo) -> float:
    """Estimated work of the longest run of infinite width on an ordinary core, with two evaluations.

    0 where no limit is computed.
    """
    spec = _of_one_seed(base)
    costs = [
        cost(config, run_config(spec, run), info)
        for network, _, run in _limit_runs(spec)
        for config in (pack_config(spec, network),)
        if _stand_in(config, spec, run) is None
    ]
    return max((_seconds(one) for one in costs), default=0.0)


@dataclass(frozen=True, slots=True)
class StandIn:
    """The dearest of the networks that stand for infinite width.

    Attributes:
        width: Theirs.
        memory_bytes: Of one run.
        seconds: Of one run on an ordinary core, with two evaluations.
    """

    width: int
    memory_bytes: int
    seconds: float


def stand_in(base: pb.ExperimentSpec, info: DatasetInfo, width: int) -> StandIn | None:
    """What stands for infinite width beside networks up to a width; None: all limits are computed."""
    spec = _of_one_seed(base)
    spec.grid.widths[:] = [width]
    costs = [
        cost(wider, run_config(spec, run), info)
        for network, _, run in _limit_runs(spec)
        if (wider := _stand_in(pack_config(spec, network), spec, run)) is not None
    ]
    if not costs:
        return None
    return StandIn(TIMES_WIDER * width, max(one.memory_bytes for one in costs), max(map(_seconds, costs)))


def _seconds(one: Cost) -> float:
    return one.seconds() + 2 * one.evaluation_seconds()


def _stand_in(config: PackConfig, spec: pb.ExperimentSpec, run: RunRecord | NewRun) -> PackConfig | None:
    """The network that stands for a run of infinite width; None: its limit is computed, or nothing can."""
    if not config.infinite_width:
        return None
    limit = _limit(config, spec, run)
    if isinstance(limit, Limit) or not limit.wider:
        return None
    width = TIMES_WIDER * max(spec.grid.widths)
    return replace(config, infinite_width=False, replicas=1, deferred=True, width=width)


def _of_one_seed(base: pb.ExperimentSpec) -> pb.ExperimentSpec:
    spec = pb.ExperimentSpec()
    spec.CopyFrom(base)
    spec.grid.seeds[:] = [0]
    return spec


def _limit_runs(spec: pb.ExperimentSpec) -> Iterator[tuple[NetworkShape, int, NewRun]]:
    """Networks of infinite width, each with every parameterization and its position."""
    for network in networks(spec.grid):
        if network.width == INFINITE_WIDTH:
            for position, run in enumerate(_one_of_each(spec, network)):
                yield network, position, run


def cost_of(spec: pb.ExperimentSpec, info: DatasetInfo) -> CostOf:
    """The cost of any run of a valid spec that is no dense network; None of those that are.

    Runs that differ in rate and seed alone cost the same, and are counted once.
    """
    known: dict[tuple[NetworkShape, str], Cost | None] = {}

    def found(run: RunRecord | NewRun) -> Cost | None:
        network = NetworkShape.of(run)
        key = network, run.parameterization
        if key not in known:
            config = pack_config(spec, network)
            config = _stand_in(config, spec, run) or config
            known[key] = cost(config, run_config(spec, run), info) if is_special(config) else None
        return known[key]

    return found


def largest_memory(spec: pb.ExperimentSpec, network: NetworkShape, info: DatasetInfo) -> int:
    """Estimated memory of the largest run of a kind of network that is no dense one."""
    config = pack_config(spec, network)
    return max(
        cost(_stand_in(config, spec, run) or config, run_config(spec, run), info).memory_bytes
        for run in _one_of_each(spec, network)
    )


def _one_of_each(spec: pb.ExperimentSpec, network: NetworkShape) -> Iterator[NewRun]:
    """A run of each parameterization."""
    for entry in spec.grid.parameterizations:
        yield NewRun(
            **network.values(),
            index=0,
            parameterization=entry.label,
            base_learning_rate=rates_of(entry, spec.grid)[0],
            seed=spec.grid.seeds[0],
        )


def _limit(config: PackConfig, spec: pb.ExperimentSpec, run: RunRecord | NewRun) -> Limit | NoLimit:
    own = run_config(spec, run)
    return limit_of(
        own.parameterization,
        config.activation,
        config.optimizer,
        calibrated=own.calibration is not None,
        weight_decay=own.settings.weight_decay,
        model=config.model,
    )


def _place(spec: pb.ExperimentSpec, network: NetworkShape, position: int, field: str) -> str:
    """Path in the spec of what is wrong with a run of the parameterization at a position."""
    grid = spec.grid
    match field:
        case "activation":
            return f"grid.activations[{list(grid.activations).index(network.activation)}]"
        case "parameterization":
            return f"grid.parameterizations[{position}]"
        case "calibration":
            return f"grid.parameterizations[{position}].calibration"
        case "width" if network.width == INFINITE_WIDTH:
            return "infinite_width.particles" if spec.HasField("infinite_width") else "grid.infinite_width"
        case "width":
            return f"grid.widths[{list(grid.widths).index(network.width)}]"
    return _PLACES.get(field, field)

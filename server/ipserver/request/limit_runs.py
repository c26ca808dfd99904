"""Runs of infinite width or with deferred weights: what of a spec they cannot have, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

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
    spec: pb.ExperimentSpec, info: DatasetInfo, path: str, limits: Limits, problems: Problems
) -> None:
    """Every run of infinite width has a limit that is computed here, and every deferred one can be.

    Args:
        spec: Valid in all other respects, with its defaults.
        info: Properties of its dataset.
        path: Of the spec.
        limits: Of this service.
        problems: Where to note what is wrong.
    """
    found: dict[tuple[str, str], None] = {}
    for network in networks(spec.grid):
        config = pack_config(spec, network)
        if not is_special(config):
            continue
        for position, run in enumerate(_one_of_each(spec, network)):
            for field, text in limit_problems(
                config, run_config(spec, run), info, limits.max_run_memory_bytes
            ):
                found[_place(spec, network, position, field), text] = None
    for place, text in found:
        problems.add(f"{path}.{place}", text)


def limit_warnings(spec: pb.ExperimentSpec) -> list[str]:
    """What to know of the limits of a valid spec before one reads their numbers."""
    said: dict[str, None] = {}
    for network in networks(spec.grid):
        config = pack_config(spec, network)
        if not config.infinite_width:
            continue
        for run in _one_of_each(spec, network):
            limit = _limit(config, spec, run)
            if not isinstance(limit, Limit):
                continue
            of = f"width inf, {run.parameterization}, {run.hidden_layers} hidden layers, {run.activation}"
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
            # Networks that keep their initial matrices have a limit, for which a far wider network stands.
            if limit.reason != "initial_weights":
                found[run.parameterization] = limit.sentence
        elif not limit.starts_at_zero:
            found[run.parameterization] = (
                "the limit starts from a random f_0 of its own, not from that of the network of its seed, so "
                "distances do not fall; up:1/4 has the same kernel and starts from 0"
            )
    return found


def widest_beside_limit(base: pb.ExperimentSpec) -> int:
    """The width up to which the particles of a limit are many enough for the networks beside it."""
    config = next((pack_config(base, network) for network, *_ in _limit_runs(_of_one_seed(base))), None)
    return INFINITE_WIDTH if config is None else config.width * config.replicas // _PARTICLES_PER_NEURON


def limit_seconds(base: pb.ExperimentSpec, info: DatasetInfo) -> float:
    """Estimated work of the longest run of infinite width on an ordinary core, with two evaluations."""
    spec = _of_one_seed(base)
    costs = [
        cost(config, run_config(spec, run), info)
        for network, _, run in _limit_runs(spec)
        for config in (pack_config(spec, network),)
    ]
    return max(one.seconds() + 2 * one.evaluation_seconds() for one in costs)


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
            known[key] = cost(config, run_config(spec, run), info) if is_special(config) else None
        return known[key]

    return found


def largest_memory(spec: pb.ExperimentSpec, network: NetworkShape, info: DatasetInfo) -> int:
    """Estimated memory of the largest run of a kind of network that is no dense one."""
    config = pack_config(spec, network)
    runs = _one_of_each(spec, network)
    return max(cost(config, run_config(spec, run), info).memory_bytes for run in runs)


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


def _limit(config: PackConfig, spec: pb.ExperimentSpec, run: NewRun) -> Limit | NoLimit:
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

"""Checks whether runs of infinite width or with deferred weights support the settings of a spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ipcore.catalogue import DatasetInfo
from ipcore.catalogue.widths import INFINITE_WIDTH, TIMES_WIDER
from ipcore.config import PackConfig
from ipcore.limits.limit import Limit
from ipcore.limits.problems import limit_problems
from ipcore.probes.paired import PAIRED_OUTPUTS
from iplab.v1 import spec_pb2 as pb
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.request.convert import DEFERRING, pack_config, run_config
from ipserver.request.expand import networks
from ipserver.request.limit_runs import is_special, limit_of_run, one_of_each, stand_in_of
from ipserver.request.problems import Problems, unknown
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.runs import NewRun

# Paths in a spec of fields of `PackConfig` and `RunConfig`; others are fields of the spec itself.
_PLACES: Final = {
    "optimizer": "optimizer.name",
    "settings.weight_decay": "optimizer.weight_decay",
    "weights": "record.weights",
    "probes": "record.probes",
}


def check_particles(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Check that settings of infinite width and deferred weights are given only where they are used."""
    if spec.HasField("infinite_width") and not spec.grid.infinite_width:
        problems.add(
            f"{path}.infinite_width", "is used only with inf among the widths; add it or remove this"
        )
    asked = spec.deferred_weights
    if asked and asked not in DEFERRING:
        problems.add(f"{path}.deferred_weights", unknown("choice", asked, DEFERRING))
    if spec.deferred_width < 0:
        problems.add(f"{path}.deferred_width", f"must be at least 1, not {spec.deferred_width}")
    elif spec.deferred_width and asked != "cheaper":
        problems.add(
            f"{path}.deferred_width", "is used only with deferred_weights: cheaper; add that or remove this"
        )


def check_limits(
    spec: pb.ExperimentSpec,
    info: DatasetInfo,
    path: str,
    limits: Limits,
    problems: Problems,
    *,
    stand_ins: bool = False,
) -> None:
    """Check that all runs of infinite width, and all runs with deferred weights, can be computed.

    Args:
        spec: Valid in all other respects, with its defaults.
        info: Properties of its dataset.
        path: Path of the spec.
        limits: Limits of this service.
        problems: Collects the violations.
        stand_ins: Whether a far wider network may replace a limit that is not computed.
    """
    found: dict[tuple[str, str], None] = {}
    for network in networks(spec.grid):
        config = pack_config(spec, network)
        if not is_special(config):
            continue
        for position, run in enumerate(one_of_each(spec, network)):
            if stand_ins and (wider := stand_in_of(config, spec, run)) is not None:
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
    """Problems with the wide network that replaces a limit, as (path in the spec, message)."""
    most = max(spec.grid.widths)
    widest = f"grid.widths[{list(spec.grid.widths).index(most)}]"
    about = f"width {most:,} is compared with a network of width {wider.width:,} with deferred weights, which"
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


def pairs(spec: pb.ExperimentSpec) -> bool:
    """Whether some dense network is compared with a kernel machine that starts from the network's own f_0."""
    return any(
        isinstance(limit, Limit) and limit.is_paired
        for network in networks(spec.grid)
        if not is_special(config := pack_config(spec, network))
        for run in one_of_each(spec, network)
        for limit in (limit_of_run(config, spec, run),)
    )


def pair_outputs(spec: pb.ExperimentSpec) -> None:
    """Add the probe `paired_outputs` to a valid spec that records outputs by default, if it applies."""
    if spec.grid.infinite_width and pairs(spec):
        spec.record.probes.quantities.append(PAIRED_OUTPUTS)


def check_pairs(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Check that some run of an otherwise valid spec records the probe `paired_outputs`."""
    asked = list(spec.record.probes.quantities)
    if PAIRED_OUTPUTS in asked and not pairs(spec):
        problems.add(
            f"{path}.quantities[{asked.index(PAIRED_OUTPUTS)}]",
            f"{PAIRED_OUTPUTS} is recorded of dense networks whose limit is a kernel machine with a random "
            "f_0 (ntk, sp-stable), and there are none in this grid; leave it out"
            + (", or the deferred weights" if spec.deferred_weights else ""),
        )


def limit_warnings(spec: pb.ExperimentSpec) -> list[str]:
    """Warnings about the limits of a valid spec: which are replaced or approximate, and how."""
    said: dict[str, None] = {}
    for network in networks(spec.grid):
        config = pack_config(spec, network)
        if config.deferred and PAIRED_OUTPUTS in spec.record.probes.quantities:
            said[
                f"width {config.width:,} has deferred weights, of which {PAIRED_OUTPUTS} is not recorded: "
                "they draw f_0 on the test set anew at every step"
            ] = None
        if not config.infinite_width:
            continue
        for run in one_of_each(spec, network):
            limit = limit_of_run(config, spec, run)
            of = f"width inf, {run.parameterization}, {run.hidden_layers} hidden layers, {run.activation}"
            if not isinstance(limit, Limit):
                said[
                    f"{of}: networks {TIMES_WIDER} times wider, with deferred weights, replace the limit"
                ] = None
                continue
            said |= {f"{of}: {note}": None for note in limit.notes}
            if limit.kind == "particles" and config.replicas == 1:
                said["with one replica the particles' own error cannot be estimated: use at least 2"] = None
    return list(said)


def _place(spec: pb.ExperimentSpec, network: NetworkShape, position: int, field: str) -> str:
    """Path in the spec of a field of the pack or run with the parameterization at a position."""
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

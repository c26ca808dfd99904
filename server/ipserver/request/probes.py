"""Rules of probes, and the bound on how much one experiment records."""

from __future__ import annotations

from ipcore.probes.problems import probe_violations
from ipcore.training.recording import points_per_run
from iplab.v1 import spec_pb2 as pb
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.request.convert import pack_config
from ipserver.request.expand import count_runs
from ipserver.request.problems import Problems
from ipserver.store.records.networks import NetworkShape


def check_probes(spec: pb.ExperimentSpec, train_size: int | None, path: str, problems: Problems) -> None:
    """Check that the probes' quantities, layers, steps and examples exist at every depth, and a step is due.

    Args:
        spec: With its defaults filled in; may be invalid elsewhere.
        train_size: Number of training examples; None if unknown.
        path: Path of the probes.
        problems: Collects the violations.
    """
    depths = [depth for depth in spec.grid.hidden_layers if depth >= 1]
    if not depths:
        return
    # The layers of the shallowest network exist in all networks.
    config = pack_config(spec, NetworkShape.of_depth(min(depths)))
    if config.probes is None:
        return
    for field, message in probe_violations(config, config.probes, train_size):
        problems.add(f"{path}.{field}", message)


def check_points(spec: pb.ExperimentSpec, path: str, limits: Limits, problems: Problems) -> None:
    """Refuse an experiment whose metric points the store could not hold, before anything trains.

    Args:
        spec: Valid otherwise.
        path: Path of the recording.
        limits: Limits of this service.
        problems: Collects the violations.
    """
    grid = spec.grid
    runs_per_depth = count_runs(grid) // len(grid.hidden_layers)
    points = runs_per_depth * sum(
        points_per_run(pack_config(spec, NetworkShape.of_depth(depth))) for depth in grid.hidden_layers
    )
    if points > limits.max_points:
        problems.add(
            path,
            f"asks for up to {points:,} metric points but one experiment may have {limits.max_points:,}; "
            "raise metrics_interval, evaluation_interval or the probes' interval, or probe fewer layers",
        )

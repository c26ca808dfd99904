"""Rules of a grid: its axes and the number of runs; its parameterizations are in a file of their own."""

from __future__ import annotations

from ipcore.catalogue import ACTIVATIONS, OPTIMIZERS, find_activation
from ipcore.engine.schedule import least_factor, schedule_problems
from ipcore.errors import ConfigError
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import pack_schedule
from ipserver.request.defaults import OPTIMIZER
from ipserver.request.expand import count_runs
from ipserver.request.limits import Limits
from ipserver.request.parameterizations import check_parameterizations, check_rates
from ipserver.request.problems import Problems
from ipserver.request.scales import Axes

_SHOWN = 64  # characters of a name that is wrong


def check_grid(spec: pb.ExperimentSpec, path: str, limits: Limits, problems: Problems) -> None:
    """All axes and what they make together, but not the memory, which needs a valid spec."""
    grid = spec.grid
    if (runs := count_runs(grid)) > limits.max_runs:
        problems.add(
            path,
            f"has {runs:,} runs but one experiment may have {limits.max_runs:,}; shorten an axis or submit "
            "several experiments",
        )
    widths = problems.axis(
        f"{path}.widths",
        grid.widths,
        "width",
        lambda field, m: problems.integer(field, m, 1, limits.max_width, "a width"),
        limits.max_runs,
    )
    depths = problems.axis(
        f"{path}.hidden_layers",
        grid.hidden_layers,
        "number of hidden layers",
        lambda field, depth: problems.integer(
            field, depth, 1, limits.max_hidden_layers, "a number of hidden layers"
        ),
        limits.max_runs,
    )
    problems.axis(
        f"{path}.activations",
        grid.activations,
        "activation",
        lambda field, name: _check_activation(field, name, problems),
        limits.max_runs,
    )
    problems.axis(f"{path}.seeds", grid.seeds, "seed", lambda _field, _seed: True, limits.max_runs)
    own_rates = [bool(entry.base_learning_rates) for entry in grid.parameterizations]
    rates: list[float] = []
    if grid.base_learning_rates or not own_rates or not all(own_rates):
        rates = check_rates(grid.base_learning_rates, f"{path}.base_learning_rates", limits, problems)
    # Parameterizations cost most to check: not worth it for a grid that must be cut anyway.
    if runs <= limits.max_runs:
        optimizer = spec.optimizer.name if spec.optimizer.name in OPTIMIZERS else OPTIMIZER
        schedule = f"{path.rpartition('.')[0]}.schedule"
        axes = Axes(widths, depths, max(1, spec.batch_size), optimizer, _least_factor(spec), schedule)
        check_parameterizations(grid, f"{path}.parameterizations", axes, rates, limits, problems)


def _least_factor(spec: pb.ExperimentSpec) -> float:
    """Of the schedule; 1 where it is wrong, which is said elsewhere."""
    schedule = pack_schedule(spec)
    if schedule_problems(schedule, max(spec.steps, 1)):
        return 1.0
    return least_factor(schedule, spec.steps)


def _check_activation(field: str, name: str, problems: Problems) -> bool:
    if not name.startswith("relu^"):
        return problems.name(field, name, "activation", (*ACTIVATIONS, "relu^p"))
    try:
        find_activation(name[:_SHOWN])
    except ConfigError as error:
        problems.add(field, "; ".join(error.problems).removeprefix("activation: "))
        return False
    return True

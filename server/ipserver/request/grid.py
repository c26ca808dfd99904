"""Rules of a grid's axes and number of runs. `parameterizations.py` has those of its parameterizations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipcore.catalogue import ACTIVATIONS, OPTIMIZERS, find_activation
from ipcore.catalogue.activations import POWERS
from ipcore.engine.schedule import least_factor, schedule_problems
from ipcore.errors import ConfigError
from ipcore.models import MLP
from iplab.v1 import spec_pb2 as pb
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.request.checking import check_value
from ipserver.request.convert import pack_schedule
from ipserver.request.expand import count_runs
from ipserver.request.fields import fields_of
from ipserver.request.models import model_of, parameterization_depth
from ipserver.request.parameterizations import check_parameterizations, check_rates
from ipserver.request.problems import Problems
from ipserver.request.scales import Axes

_SHOWN = 64  # characters of a wrong name that a message quotes


def check_grid(spec: pb.ExperimentSpec, path: str, limits: Limits, problems: Problems) -> None:
    """Check all axes and the number of runs. Memory is checked later: its estimate needs a valid spec."""
    grid = spec.grid
    if (runs := count_runs(grid)) > limits.max_runs:
        problems.add(
            path,
            f"has {runs:,} runs but one experiment may have {limits.max_runs:,}; shorten an axis or submit "
            "several experiments",
        )
    fields = fields_of(grid)

    def axis(name: str, kind: str, values: Sequence[Any]) -> list[Any]:
        def check(path: str, value: Any) -> bool:
            return check_value(fields[name], value, path, limits, problems)

        return problems.axis(f"{path}.{name}", values, kind, check, limits.max_runs)

    widths = axis("widths", "width", grid.widths) if grid.widths or not grid.infinite_width else []
    depths = axis("hidden_layers", "number of hidden layers", grid.hidden_layers)
    problems.axis(
        f"{path}.activations",
        grid.activations,
        "activation",
        lambda field, name: _check_activation(field, name, problems),
        limits.max_runs,
    )
    axis("seeds", "seed", grid.seeds)
    own_rates = [bool(entry.base_learning_rates) for entry in grid.parameterizations]
    rates: list[float] = []
    if grid.base_learning_rates or not own_rates or not all(own_rates):
        rates = check_rates(grid.base_learning_rates, f"{path}.base_learning_rates", limits, problems)
    # Parameterizations are the most expensive to check, so a grid that is too large is refused without it.
    if runs <= limits.max_runs:
        optimizer = spec.optimizer.name if spec.optimizer.name in OPTIMIZERS else next(iter(OPTIMIZERS))
        schedule = f"{path.rpartition('.')[0]}.schedule"
        entries = {parameterization_depth(spec, depth): depth for depth in depths}
        axes = Axes(
            widths, list(entries), max(1, spec.batch_size), optimizer, _least_factor(spec), schedule,
            _counted(spec, entries),
        )  # fmt: skip
        check_parameterizations(grid, f"{path}.parameterizations", axes, rates, limits, problems)


def _counted(spec: pb.ExperimentSpec, entries: Mapping[int, int]) -> dict[int, str]:
    """An explanation of the number of weight matrices, by `parameterization_depth`; empty for perceptrons."""
    model = model_of(spec)
    if model == MLP:
        return {}
    return {
        entry: f"a {model.name} with {depth} hidden layers has {entry + 1} weight matrices"
        for entry, depth in entries.items()
    }


def _least_factor(spec: pb.ExperimentSpec) -> float:
    """Smallest factor of the schedule; 1 if the schedule is invalid, which `check_schedule` reports."""
    schedule = pack_schedule(spec)
    if schedule_problems(schedule, max(spec.steps, 1)):
        return 1.0
    return least_factor(schedule, spec.steps)


def _check_activation(field: str, name: str, problems: Problems) -> bool:
    if not name.startswith("relu^"):
        return problems.name(field, name, "activation", (*ACTIVATIONS, POWERS))
    try:
        find_activation(name[:_SHOWN])
    except ConfigError as error:
        problems.add(field, "; ".join(error.problems).removeprefix("activation: "))
        return False
    return True

"""Expands the grid of a spec into runs, in an order that never changes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from iplab.v1 import spec_pb2 as pb
from ipserver.store.records import NewRun


def rates_of(entry: pb.ParameterizationSpec, grid: pb.Grid) -> Sequence[float]:
    """Base learning rates of one parameterization: its own, or the grid's axis."""
    return entry.base_learning_rates or grid.base_learning_rates


def count_runs(grid: pb.Grid) -> int:
    """Number of runs that `expand` would return."""
    rates = sum(len(rates_of(entry, grid)) for entry in grid.parameterizations)
    return len(grid.hidden_layers) * len(grid.widths) * len(grid.activations) * rates * len(grid.seeds)


def expand(spec: pb.ExperimentSpec) -> list[NewRun]:
    """All runs of a spec, by index.

    The order is hidden_layers, widths, activations, parameterizations, base learning rates, seeds; the last
    varies fastest.

    Args:
        spec: Valid, with its defaults filled in.
    """
    grid = spec.grid
    points = (
        (hidden_layers, width, activation, entry.label, rate, seed)
        for hidden_layers, width, activation, entry in itertools.product(
            grid.hidden_layers, grid.widths, grid.activations, grid.parameterizations
        )
        for rate in rates_of(entry, grid)
        for seed in grid.seeds
    )
    return [
        NewRun(
            index=index,
            parameterization=label,
            hidden_layers=hidden_layers,
            width=width,
            activation=activation,
            base_learning_rate=rate,
            seed=seed,
        )
        for index, (hidden_layers, width, activation, label, rate, seed) in enumerate(points)
    ]

"""Expands the grid of a spec into runs, in an order that never changes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from ipcore.catalogue.widths import INFINITE_WIDTH
from iplab.v1 import spec_pb2 as pb
from ipserver.request.fields import NETWORK_AXES
from ipserver.store.records.networks import AXES, NetworkShape
from ipserver.store.records.runs import NewRun


def rates_of(entry: pb.ParameterizationSpec, grid: pb.Grid) -> Sequence[float]:
    """Base learning rates of one parameterization: its own, or the grid's axis."""
    return entry.base_learning_rates or grid.base_learning_rates


def networks(grid: pb.Grid) -> Iterator[NetworkShape]:
    """The kinds of network of a grid, in its order."""
    for axes in itertools.product(*_network_axes(grid)):
        yield NetworkShape(*axes)


def count_runs(grid: pb.Grid) -> int:
    """Number of runs that `expand` would return."""
    rates = sum(len(rates_of(entry, grid)) for entry in grid.parameterizations)
    return math.prod(map(len, _network_axes(grid))) * rates * len(grid.seeds)


def _network_axes(grid: pb.Grid) -> list[Sequence[Any]]:
    """Values of each field of `NetworkShape`, in its order."""
    values = {axis: list(getattr(grid, NETWORK_AXES[axis])) for axis in AXES}
    if grid.infinite_width:
        values["width"].append(INFINITE_WIDTH)
    return list(values.values())


def expand(spec: pb.ExperimentSpec) -> list[NewRun]:
    """All runs of a spec, by index.

    The order is hidden_layers, widths (infinity last), activations, parameterizations, base learning rates,
    seeds; the last varies fastest.

    Args:
        spec: Valid, with its defaults filled in.
    """
    grid = spec.grid
    points = (
        (network, entry.label, rate, seed)
        for network, entry in itertools.product(networks(grid), grid.parameterizations)
        for rate in rates_of(entry, grid)
        for seed in grid.seeds
    )
    return [
        NewRun(
            index=index,
            parameterization=label,
            **network.values(),
            base_learning_rate=rate,
            seed=seed,
        )
        for index, (network, label, rate, seed) in enumerate(points)
    ]

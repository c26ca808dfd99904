"""Checks that number formats can represent the powers of the width (`ipcore.models.magnitudes`).

Runs of a pack share their number format, so one run out of range would fail the whole pack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ipcore.models.magnitudes import Training, misfits
from ipcore.theory import Parameterization
from iplab.v1 import spec_pb2 as pb
from ipserver.request.problems import Problems

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Axes:
    """What the scales depend on besides exponents and rates.

    Attributes:
        widths: Valid widths m; may be empty.
        depths: Depths of parameterizations (`ipserver.request.models`); may be empty.
        batch_size: B >= 1.
        optimizer: Name in the catalogue.
        least_factor: Smallest factor > 0 of the schedule.
        schedule: Path of the schedule.
        counted: Explanation of the number of weight matrices by depth; empty for perceptrons.
    """

    widths: Sequence[int]
    depths: Sequence[int]
    batch_size: int
    optimizer: str = "sgd"
    least_factor: float = 1.0
    schedule: str = "schedule"
    counted: Mapping[int, str] = field(default_factory=dict)

    def explained(self, message: str, depth: int) -> str:
        """A message about exponents at one of `depths`, with the explanation of the number of matrices."""
        return f"{message} ({self.counted[depth]})" if depth in self.counted else message


def extremes(values: Sequence[Number]) -> list[Number]:
    """The least and the largest value; a single one if they are equal.

    Quantities that are monotonic along an axis (a power of widths or rates, a preset's exponents over depths)
    need to be checked only at these.

    >>> extremes([3, 1, 2]), extremes([])
    ([1, 3], [])
    """
    return sorted({min(values), max(values)}) if values else []


def check_scales(
    entry: pb.ParameterizationSpec,
    values: Sequence[Parameterization],
    path: str,
    axes: Axes,
    rates: Sequence[float],
    problems: Problems,
) -> None:
    """Check multipliers, initial sizes and rates of one entry; report the first out of range per field.

    Args:
        entry: Valid except perhaps for its scales.
        values: The parameterization at the least and the largest depth of the grid.
        path: Path of the entry.
        axes: Axes of the grid.
        rates: Valid base learning rates.
        problems: Collects the violations.
    """
    cap = entry.calibration.cap if entry.HasField("calibration") else None
    training = Training(axes.batch_size, axes.optimizer, extremes(rates), axes.least_factor, cap)
    mend = "use smaller" if entry.preset else "choose exponents nearer to 0, or smaller"
    named = set()
    for value in values:
        for found in misfits(value, extremes(axes.widths), training):
            if found.field == "cap":
                place, advice = f"{path}.calibration.cap", "lower the cap, or change exponents or widths"
            elif found.field == "schedule":
                place, advice = axes.schedule, "choose a larger final rate"
            else:
                place = f"{path}.preset" if entry.preset else f"{path}.exponents.{found.field}"
                advice = f"{mend} widths or depths"
            if place not in named:
                named.add(place)
                problems.add(place, axes.explained(f"{found.message}; {advice}", value.hidden_layers))

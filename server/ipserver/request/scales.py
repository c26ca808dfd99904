"""Whether a number format holds the powers of the width that exponents become (`ipcore.models.magnitudes`).

Runs that train together share their number format, so one that does not fit would stop all of its pack.
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
    """What scales depend on besides exponents and rates.

    Attributes:
        widths: Valid widths m; may be empty.
        depths: Depths that parameterizations are made for (`ipserver.request.models`); may be empty.
        batch_size: B >= 1.
        optimizer: Name in the catalogue.
        least_factor: Smallest factor > 0 of the schedule.
        schedule: Path of the schedule.
        counted: At each of `depths` how many weight matrices networks have; of perceptrons it goes without
            saying.
    """

    widths: Sequence[int]
    depths: Sequence[int]
    batch_size: int
    optimizer: str = "sgd"
    least_factor: float = 1.0
    schedule: str = "schedule"
    counted: Mapping[int, str] = field(default_factory=dict)

    def explained(self, message: str, depth: int) -> str:
        """A message on the exponents at one of `depths`, with what the model's networks are there."""
        return f"{message} ({self.counted[depth]})" if depth in self.counted else message


def extremes(values: Sequence[Number]) -> list[Number]:
    """The least and the largest value, once if they are the same.

    What changes in one direction only along an axis (a power along widths or rates, a preset's exponents
    along depths) lies between its values there.

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
    """Multipliers, initial sizes and rates of one entry; the first that does not fit names each field.

    Args:
        entry: Valid but for its scales.
        values: It at the depths of the grid that matter.
        path: Path of the entry.
        axes: Axes of the grid.
        rates: Valid base learning rates.
        problems: Where to note what is wrong.
    """
    cap = entry.calibration.cap if entry.HasField("calibration") else None
    training = Training(axes.batch_size, axes.optimizer, extremes(rates), axes.least_factor, cap)
    mend = "use smaller" if entry.preset else "bring exponents nearer to 0, or use smaller"
    named = set()
    for value in values:
        for found in misfits(value, extremes(axes.widths), training):
            if found.field == "cap":
                place, advice = f"{path}.calibration.cap", "lower the cap, or change exponents or widths"
            elif found.field == "schedule":
                place, advice = axes.schedule, "let rates fall less far"
            else:
                place = f"{path}.preset" if entry.preset else f"{path}.exponents.{found.field}"
                advice = f"{mend} widths or depths"
            if place not in named:
                named.add(place)
                problems.add(place, axes.explained(f"{found.message}; {advice}", value.hidden_layers))

"""Whether the powers of the width that exponents become fit the numbers that train.

Runs that train together share their number format, so one that does not fit would stop all of its pack.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from ipcore.scales import LARGEST_SCALE, SMALLEST_SCALE, fits, scaled
from ipcore.theory import Parameterization
from iplab.v1 import spec_pb2 as pb
from ipserver.spec.problems import Problems

T = TypeVar("T", int, float)

ALLOWED = f"{SMALLEST_SCALE:g} .. {LARGEST_SCALE:g}"


@dataclass(frozen=True, slots=True)
class Axes:
    """What scales depend on besides exponents and rates.

    Attributes:
        widths: Valid widths m; may be empty.
        depths: Valid numbers of hidden layers L; may be empty.
        batch_size: B >= 1.
    """

    widths: Sequence[int]
    depths: Sequence[int]
    batch_size: int


def extremes(values: Sequence[T]) -> list[T]:
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
        path: Of the entry.
        axes: Of the grid.
        rates: Valid base learning rates.
        problems: Where to note what is wrong.
    """
    named = set()
    for value in values:
        for field, message in _misfits(entry, value, axes, rates):
            if field not in named:
                named.add(field)
                problems.add(f"{path}.{field}", message)


def _misfits(
    entry: pb.ParameterizationSpec, value: Parameterization, axes: Axes, rates: Sequence[float]
) -> Iterator[tuple[str, str]]:
    """Fields below the entry's path, and what is wrong."""
    base_rates = extremes(rates)
    mend = "use smaller" if entry.preset else "bring exponents nearer to 0, or use smaller"
    for width, (layer, (a, b, *phases)) in itertools.product(extremes(axes.widths), _layers(value)):
        where = f"of layer {layer} with {value.hidden_layers} hidden layers"
        numbers = [
            ("a", f"the multiplier {where}", 1.0, -a),
            ("b", f"the initial size {where}", 1.0, -b),
            ("b", f"the initial size times the multiplier {where}", 1.0, -a - b),
        ]
        for i, c in enumerate(phases):
            first = i == 0 and len(phases) > 1
            field, when = ("c_first_step", " at step 0") if first else ("c", "")
            numbers += [
                (field, f"the rate {where}{when}", rate / axes.batch_size, -c - 2 * a) for rate in base_rates
            ]
        for field, what, factor, exponent in numbers:
            if not fits(scaled(factor, width, exponent)):
                yield (
                    "preset" if entry.preset else f"exponents.{field}",
                    f"{what} is {_product(factor, width, exponent)}, beyond what training can hold "
                    f"({ALLOWED}); {mend} widths or depths",
                )
        # Calibration may return any base rate up to its cap, for step 0 and all layers but the first.
        cap, exponent = entry.calibration.cap / axes.batch_size, -phases[0] - 2 * a
        if entry.HasField("calibration") and layer > 1 and scaled(cap, width, exponent) > LARGEST_SCALE:
            yield (
                "calibration.cap",
                f"the largest calibrated rate {where} is {_product(cap, width, exponent)}, beyond what "
                f"training can hold ({LARGEST_SCALE:g}); lower the cap, or change exponents or widths",
            )


def _product(factor: float, width: int, exponent: Fraction) -> str:
    power = f"{width}^({exponent})"
    return power if factor == 1 else f"{factor:g} * {power}"


def _layers(value: Parameterization) -> list[tuple[int, tuple[Fraction, ...]]]:
    """Number and exponents (a, b, c of each phase) of layer 1, and of the later ones that differ."""
    first, *rest = zip(value.a, value.b, *(phase.c for phase in value.phases), strict=True)
    layers: dict[tuple[Fraction, ...], int] = {}
    layer = 2
    # Fractions are slow to hash, and neighbours are mostly the same objects.
    for row, same in itertools.groupby(rest):
        layers.setdefault(row, layer)
        layer += sum(1 for _ in same)
    return [(1, first), *((number, row) for row, number in layers.items())]

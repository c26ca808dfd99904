"""Whether the powers of the width that exponents become fit the numbers that train.

Runs that train together share their number format, so one that does not fit would stop all of its pack.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, TypeVar

from ipcore.scales import LARGEST_SCALE, SMALLEST_SCALE, fits, scaled
from ipcore.theory import Parameterization
from iplab.v1 import spec_pb2 as pb
from ipserver.spec.problems import Problems

Number = TypeVar("Number", int, float)
T = TypeVar("T")

ALLOWED = f"{SMALLEST_SCALE:g} .. {LARGEST_SCALE:g}"


@dataclass(frozen=True, slots=True)
class Axes:
    """What scales depend on besides exponents and rates.

    Attributes:
        widths: Valid widths m; may be empty.
        depths: Valid numbers of hidden layers L; may be empty.
        batch_size: B >= 1.
        optimizer: As `ipcore.theory` knows it.
    """

    widths: Sequence[int]
    depths: Sequence[int]
    batch_size: int
    optimizer: str = "sgd"


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
    mend = "use smaller" if entry.preset else "bring exponents nearer to 0, or use smaller"
    for width, (layer, row) in itertools.product(extremes(axes.widths), _layers(value)):
        where = f"of layer {layer} with {value.hidden_layers} hidden layers"
        for field, what, factor, exponent in _powers(row, axes, extremes(rates)):
            if not fits(scaled(factor, width, exponent)):
                yield (
                    "preset" if entry.preset else f"exponents.{field}",
                    f"{what.format(where)} is {_product(factor, width, exponent)}, beyond what training can "
                    f"hold ({ALLOWED}); {mend} widths or depths",
                )
        # Calibration may return any base rate up to its cap, for step 0 and all layers but the first.
        cap, exponent = entry.calibration.cap / axes.batch_size, -row.c[0] - 2 * row.a
        if entry.HasField("calibration") and layer > 1 and scaled(cap, width, exponent) > LARGEST_SCALE:
            yield (
                "calibration.cap",
                f"the largest calibrated rate {where} is {_product(cap, width, exponent)}, beyond what "
                f"training can hold ({LARGEST_SCALE:g}); lower the cap, or change exponents or widths",
            )


class _Row(NamedTuple):
    """The exponents of one layer; `c` and `d` by phase, `k` by re-weighting; None: not there."""

    a: Fraction
    b: Fraction
    c: tuple[Fraction, ...]
    d: tuple[Fraction | None, ...]
    mean: Fraction | None
    k: tuple[Fraction | None, ...]
    bias: tuple[Fraction, ...]


_Power = tuple[str, str, float, Fraction]


def _powers(row: _Row, axes: Axes, rates: Sequence[float]) -> Iterator[_Power]:
    """(field of `Exponents`, what it is, factor, exponent) of every number that a layer trains with."""
    a, b = row.a, row.b
    yield "a", "the multiplier {}", 1.0, -a
    yield "b", "the initial size {}", 1.0, -b
    yield "b", "the initial size times the multiplier {}", 1.0, -a - b
    if row.mean is not None:
        yield "b", "the mean of the initial weights times the multiplier {}", 1.0, -a - row.mean
    for k in row.k:
        if k is not None:
            yield "b", "the re-weighted initial size times the multiplier {}", 1.0, -a - b - k
    yield from _rates(row.c, a, "the rate {}", axes, rates)
    if axes.optimizer == "adam":
        yield from _gradients(row, axes)
    if row.bias:
        bias_a, bias_b, *bias_c = row.bias
        yield "b", "the initial size of the bias {}", 1.0, -bias_a - bias_b
        yield from _rates(bias_c, bias_a, "the rate of the bias {}", axes, rates)


def _gradients(row: _Row, axes: Axes) -> Iterator[_Power]:
    """Adam holds gradients as m^{d-a} g, so that they stand beside epsilon as it is given."""
    for i, d in enumerate(row.d):
        field, when = _phase("d", i, row.d)
        yield (
            field,
            f"the factor of Adam's gradients {{}}{when}",
            1 / axes.batch_size,
            (d or Fraction(0)) - row.a,
        )


def _rates(
    c: Sequence[Fraction], a: Fraction, what: str, axes: Axes, rates: Sequence[float]
) -> Iterator[_Power]:
    """Rates of effective weights: with Adam they do not see the size of the gradient, nor the batch."""
    adam = axes.optimizer == "adam"
    for i, entry in enumerate(c):
        field, when = _phase("c", i, c)
        for rate in rates:
            if adam:
                yield field, f"{what}{when}", rate, -entry - a
            else:
                yield field, f"{what}{when}", rate / axes.batch_size, -entry - 2 * a


def _phase(field: str, i: int, phases: Sequence[object]) -> tuple[str, str]:
    """The list that phase i comes from, and what to say of it."""
    return (f"{field}_first_step", " at step 0") if i == 0 and len(phases) > 1 else (field, "")


def _product(factor: float, width: int, exponent: Fraction) -> str:
    power = f"{width}^({exponent})"
    return power if factor == 1 else f"{factor:g} * {power}"


def _layers(value: Parameterization) -> list[tuple[int, _Row]]:
    """Number and exponents of layer 1, and of the later ones that differ."""
    count, biases = len(value.a), value.biases
    bias = () if biases is None else (biases.a, biases.b, *(phase.c for phase in biases.phases))
    first, *rest = map(
        _Row,
        value.a,
        value.b,
        _by_layer([phase.c for phase in value.phases], count),
        _by_layer([phase.d or (None,) * count for phase in value.phases], count),
        value.mean or (None,) * count,
        _by_layer([later.k for later in value.reweightings], count),
        _by_layer(bias, count),
    )
    layers: dict[_Row, int] = {}
    layer = 2
    # Fractions are slow to hash, and neighbours are mostly the same objects.
    for row, same in itertools.groupby(rest):
        layers.setdefault(row, layer)
        layer += sum(1 for _ in same)
    return [(1, first), *((number, row) for row, number in layers.items())]


def _by_layer(columns: Sequence[Sequence[T]], layers: int) -> Sequence[tuple[T, ...]]:
    """What stands in all columns, layer by layer."""
    return list(zip(*columns, strict=True)) if columns else [()] * layers

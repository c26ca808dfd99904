"""The powers of the width that a network trains with, and whether the number format can hold them.

Multipliers, initial sizes, rates and the factors of Adam's gradients are each a factor times m^exponent. If
one underflows or overflows, training would use 0 or infinity; the service and the trainer refuse both.
Needs no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, TypeVar

from ipcore.catalogue import OPTIMIZERS
from ipcore.catalogue.formats import SINGLE, Range, fits
from ipcore.models.scales import scaled
from ipcore.theory import Parameterization

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Training:
    """Settings, besides exponents and widths, on which the numbers depend.

    Attributes:
        batch_size: B >= 1.
        optimizer: Name in `ipcore.catalogue.OPTIMIZERS`.
        rates: Base learning rates.
        least_factor: Smallest factor > 0 of the schedule (`ipcore.engine.schedule.least_factor`).
        cap: Largest calibrated base rate; None: not calibrated.
    """

    batch_size: int
    optimizer: str
    rates: Sequence[float]
    least_factor: float = 1.0
    cap: float | None = None


@dataclass(frozen=True, slots=True)
class Misfit:
    """A number that training cannot hold.

    Attributes:
        field: Where it comes from: "a", "b", "c", "c_first_step", "d", "d_first_step", "cap", or "schedule"
            where the rate alone would fit.
        message: What it is, and the range: "the rate of layer 2 with 3 hidden layers is 0.1 * 64^(30), beyond
            what training can hold (1e-36 .. 1e+36): too large".
    """

    field: str
    message: str


def misfits(
    value: Parameterization, widths: Sequence[int], training: Training, held: Range = SINGLE
) -> Iterator[Misfit]:
    """Numbers of a parameterization that do not fit, width by width and layer by layer.

    Args:
        value: Exponents.
        widths: m.
        training: Other settings on which the numbers depend.
        held: Range of the number format.
    """
    layers = _layers(value)
    for width, (layer, row) in itertools.product(widths, layers):
        where = f"of layer {layer} with {value.hidden_layers} hidden layers"
        fit = True
        for field, what, factor, exponent in _powers(row, training):
            if field == "schedule" and not fit:
                continue  # it follows from its rate, which is reported already
            scale = scaled(factor, width, exponent)
            fit = fits(scale, held)
            if not fit:
                said = f"{what.format(where)} is {_product(factor, width, exponent)}"
                side = "small" if scale < held.least else "large"
                yield Misfit(field, f"{said}, beyond what training can hold ({held}): too {side}")
        # Calibration may return any base rate up to its cap, for step 0 and all layers but the first.
        if training.cap is not None and layer > 1:
            factor, exponent = training.cap / training.batch_size, -row.c[0] - 2 * row.a
            if scaled(factor, width, exponent) > held.largest:
                size = _product(factor, width, exponent)
                yield Misfit(
                    "cap",
                    f"the largest calibrated rate {where} is {size}, beyond what training can hold "
                    f"({held.largest:g})",
                )


class _Row(NamedTuple):
    """The exponents of one layer; `c` and `d` by phase, `k` by re-weighting; None: absent."""

    a: Fraction
    b: Fraction
    c: tuple[Fraction, ...]
    d: tuple[Fraction | None, ...]
    mean: Fraction | None
    k: tuple[Fraction | None, ...]
    bias: tuple[Fraction, ...]


_Power = tuple[str, str, float, Fraction]


def _powers(row: _Row, training: Training) -> Iterator[_Power]:
    """(field of `Misfit`, what it is, factor, exponent) of every number that a layer trains with."""
    a, b = row.a, row.b
    yield "a", "the multiplier {}", 1.0, -a
    yield "b", "the initial size {}", 1.0, -b
    yield "b", "the initial size times the multiplier {}", 1.0, -a - b
    if row.mean is not None:
        yield "b", "the mean of the initial weights times the multiplier {}", 1.0, -a - row.mean
    for k in row.k:
        if k is not None:
            yield "b", "the re-weighted initial size times the multiplier {}", 1.0, -a - b - k
    yield from _rates(row.c, a, "the rate {}", training)
    if OPTIMIZERS[training.optimizer].has_epsilon:
        yield from _gradients(row, training)
    if row.bias:
        bias_a, bias_b, *bias_c = row.bias
        yield "b", "the initial size of the bias {}", 1.0, -bias_a - bias_b
        yield from _rates(bias_c, bias_a, "the rate of the bias {}", training)


def _gradients(row: _Row, training: Training) -> Iterator[_Power]:
    """Adam holds gradients as m^{d-a} g, so that they can be compared with epsilon as given."""
    for i, d in enumerate(row.d):
        field, when = _phase("d", i, row.d)
        yield (
            field,
            f"m^(d-a), the factor of Adam's gradients {{}}{when},",
            1 / training.batch_size,
            (d or Fraction(0)) - row.a,
        )


def _rates(c: Sequence[Fraction], a: Fraction, what: str, training: Training) -> Iterator[_Power]:
    """Rates of effective weights: with Adam they do not see the size of the gradient, nor the batch."""
    entrywise = OPTIMIZERS[training.optimizer].entrywise
    least = training.least_factor
    for i, entry in enumerate(c):
        field, when = _phase("c", i, c)
        exponent = -entry - (1 if entrywise else 2) * a
        for rate in training.rates:
            scale = rate if entrywise else rate / training.batch_size
            yield field, f"{what}{when}", scale, exponent
            if least < 1:
                then = f" at the schedule's least factor {least:g}"
                yield "schedule", f"{what}{when}{then}", scale * least, exponent


def _phase(field: str, i: int, phases: Sequence[object]) -> tuple[str, str]:
    """The list that phase i comes from, and its description in messages."""
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
    """The exponents of each layer, from all columns."""
    return list(zip(*columns, strict=True)) if columns else [()] * layers

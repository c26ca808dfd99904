"""The rates of step 0 after which nothing grows, and those among them that cannot be raised.

With k_l the change of h^l at rate exponent 0 and input size 1, v_l what W_0^l passes on, z_0 = 0:

    y_l = max(v_l + (change of x^{l-1} by y_{l-1}),  k_l - c_l + e(x^{l-1} of size z_{l-1}))  <=  R_l
    z_l = max(e(h_0^l), y_l),     k_{L+1} - c_{L+1} + e(x^L of size z_L)  <=  0

y_l is the change of h^l, z_l its size after the step, R_l the largest stable change. That is a polyhedron in
c (p-homogeneous activations too: then z counts p-fold). A layer that already is as large as it may change
(e(h_0^l) >= R_l) costs the layers above nothing when it changes by R_l. Any other has a choice: the less it
changes, the larger the rates above it may be. Rates of which none can be raised are those with

    c_l = k_l + e(x^{l-1} of size z_{l-1}) - y_l,    max(e(h_0^l), v_l + ...) <= y_l <= R_l

so the changes y are their coordinates: a polytope. [ours, docs/theory.md, section 4]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from ipcore.theory.activation import Activation
from ipcore.theory.calculus import Propagation
from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import read_row
from ipcore.theory.maxplus import nonzero
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.rate_solver import unit_bias_rates, unit_rates

MAX_POINTS: Final = 64
MAX_POINT_LAYERS: Final = 2_000  # hidden layers times points: each point is solved for its later rates
_ZERO: Final = Fraction(0)


@dataclass(frozen=True, slots=True)
class ParetoPoint:
    """Stable rates of step 0 of which none can be raised, with rates that stay stable afterwards.

    Attributes:
        changes: e(h_t^l - h_0^l) for l = 1..L.
        parameterization: (a, b) with these rates.
    """

    changes: tuple[Fraction, ...]
    parameterization: Parameterization

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; exponents are exact texts."""
        return {
            "changes": [str(change) for change in self.changes],
            "parameterization": self.parameterization.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class StableRates:
    """The polyhedron of stable rates of step 0 (see the module).

    Attributes:
        largest: R_1..R_L.
        start: e(h_0^l), l = 1..L.
        passed_on: v_1..v_{L+1}; v_1 is unused, since the inputs do not change.
        unit: k_1..k_{L+1}.
        unit_bias: The same for biases with exponents of their own; empty: none.
        activation: e(x) from e(h).
        normalized: Whether preactivations are normalized: then the layers above depend on a change relative
            to its size, and no layer limits the rates of another.
        points: The Pareto points in which every layer takes an extreme: the largest change that is stable, or
            the smallest that costs the layers above nothing. At most `MAX_POINTS`, the largest changes first.
        all_points: Whether these are all of that kind.
    """

    largest: tuple[Fraction, ...]
    start: tuple[Fraction, ...]
    passed_on: tuple[Fraction, ...]
    unit: tuple[Fraction, ...]
    unit_bias: tuple[Fraction, ...]
    activation: Activation
    normalized: bool = False
    points: tuple[ParetoPoint, ...] = ()
    all_points: bool = True

    @property
    def unique(self) -> bool:
        """Whether there is a single Pareto point: then the stable rates are all rates not above it."""
        if self.normalized:  # a layer that may change by as much as it is large may change by more
            return all(most < start for most, start in zip(self.largest, self.start, strict=True))
        return not any(self._chooses(i) for i in range(len(self.largest)))

    def contains(
        self, c: Sequence[str | Fraction | int], bias_c: Sequence[str | Fraction | int] = ()
    ) -> bool:
        """Whether nothing grows after a first step with these rate exponents.

        Args:
            c: L+1 exponents.
            bias_c: As many, for biases with exponents of their own; else empty.

        Raises:
            TheoryError: Wrong lengths, or entries that are not exponents.
        """
        rates = _exponents(c, len(self.unit), "c")
        bias_rates = _exponents(bias_c, len(self.unit_bias), "bias_c")
        x = changed = _ZERO
        for i, k in enumerate(self.unit):
            change = k - rates[i] + x
            if i > 0:
                change = max(change, self.passed_on[i] + changed)
            if bias_rates:
                change = max(change, self.unit_bias[i] - bias_rates[i])
            if change > (self.largest[i] if i < len(self.largest) else 0):
                return False
            if i < len(self.largest):
                x, changed = self._x(i, change), self._changed(i, change)
        return True

    def least(self, changes: Sequence[Fraction]) -> Fraction:
        """The smallest change of the next layer in a Pareto point, given those of the layers below it."""
        i = len(changes)
        if not self._chooses(i):
            return self.largest[i]
        below = self.passed_on[i] + self._changed(i - 1, changes[-1]) if i > 0 else self.start[0]
        return max(self.start[i], below)

    def corners(self) -> Iterator[tuple[Fraction, ...]]:
        """Changes of all points in which every layer takes an extreme; there may be 2^L."""
        stack: list[tuple[Fraction, ...]] = [()]
        while stack:
            changes = stack.pop()
            if len(changes) == len(self.largest):
                yield changes
                continue
            most, least = self.largest[len(changes)], self.least(changes)
            stack += [(*changes, change) for change in dict.fromkeys((least, most))]

    def _chooses(self, i: int) -> bool:
        """Whether the layer's change makes its activations larger than they are."""
        return self._x(i, self.largest[i]) > self._x(i, self.start[i])

    def _x(self, i: int, change: Fraction) -> Fraction:
        return nonzero(self.activation.size(max(self.start[i], change)))

    def _changed(self, i: int, change: Fraction) -> Fraction:
        return nonzero(self.activation.change(self.start[i], change))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; exponents are exact texts."""
        return {
            "largest": _texts(self.largest),
            "start": _texts(self.start),
            "passed_on": _texts(self.passed_on),
            "unit": _texts(self.unit),
            "unit_bias": _texts(self.unit_bias),
            "unique": self.unique,
            "points": [point.to_dict() for point in self.points],
            "all_points": self.all_points,
        }


def stable_rates(run: Propagation, largest: tuple[Fraction, ...]) -> StableRates:
    """The polyhedron, without its points.

    Args:
        run: After the forward and the backward pass of step 0.
        largest: R_1..R_L.
    """
    return StableRates(
        largest=largest,
        start=tuple(run.h0[: run.L]),
        passed_on=tuple(run.passed_on(i) for i in range(run.L + 1)),
        unit=unit_rates(run),
        unit_bias=unit_bias_rates(run),
        activation=run.rules.activation,
        normalized=run.rules.normalized,
    )


def _exponents(entries: Sequence[str | Fraction | int], length: int, field: str) -> tuple[Fraction, ...]:
    values = read_row(entries, field)
    if len(values) != length:
        raise TheoryError(f"has {len(values)} entries; it needs {length}", field)
    return values


def _texts(entries: Sequence[Fraction]) -> list[str]:
    return [str(entry) for entry in entries]

"""Activations in the calculus: their behaviour near 0 and far from it (from `ipcore.catalogue`).

e(h) is the exponent of h, whose coordinates are of order m^e(h), and e(x) that of x = phi(h) (docs/theory.md,
section 2). Near 0 there are three local types. They decide whether activations of two steps are correlated
when they vanish at initialization (see `ipcore.theory.alignment`):

    aligned   alpha h_+ - beta h_- with alpha != beta (ReLU, leaky ReLU, |h|), or its p-th power: x has a mean
    linear    phi(h) ~ phi'(0) h (tanh, GELU, ELU, identity): x is as centred as h
    offset    phi(0) != 0 (sigmoid, softplus): x has a mean of order 1
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from ipcore import catalogue
from ipcore.catalogue.activations import relu_power
from ipcore.errors import ConfigError
from ipcore.theory.errors import TheoryError
from ipcore.theory.maxplus import Size, nonzero, smaller
from ipcore.theory.names import check_name

_ZERO: Final = Fraction(0)
_ONE: Final = Fraction(1)


@dataclass(frozen=True, slots=True)
class Activation:
    """Local type and growth of an activation.

    Attributes:
        name: Name in specs.
        kind: "aligned", "linear" or "offset", as above.
        degree: p of a p-homogeneous activation (kind "aligned"), else 1.
        bounded: |phi| stays bounded (tanh, sigmoid).
        odd: phi(-h) = -phi(h), so that phi''(0) = 0 and a centred h gives a centred x.
        nonlinear: phi' is not constant.
    """

    name: str
    kind: Literal["aligned", "linear", "offset"]
    degree: Fraction = _ONE
    bounded: bool = False
    odd: bool = False
    nonlinear: bool = True

    def size(self, h: Size) -> Size:
        """e(x) from e(h)."""
        if self.kind == "offset":
            return _ZERO if self.bounded or h is None else max(_ZERO, h)
        if h is None:
            return None
        if self.bounded:
            return min(h, _ZERO)
        return h if self.degree == 1 else self._powered(h)

    def _powered(self, h: Fraction, less: int = 0) -> Fraction:
        """(p - less) e(h); an exponent that is counted as an integer (`Multiples`) stays an integer."""
        power = self.degree - less
        return h * (power.numerator if power.denominator == 1 else power)

    def slope(self, h: Size) -> Size:
        """e(phi'(h)) from e(h); an upper bound for a bounded activation far from 0."""
        if self.degree == 1:
            return _ZERO
        return None if h is None else self._powered(h, less=1)

    def slope_variation(self, h: Size) -> Size:
        """Exponent of the differences of phi'(h) between neurons, relative to its size; an upper bound."""
        if not self.nonlinear or h is None:
            return None
        if self.kind == "aligned":
            return _ZERO
        return min(_ZERO, 2 * h if self.odd else h)

    def change(self, h0: Size, dh: Size) -> Size:
        """e(phi(h0 + dh) - phi(h0)) from e(h0) and e(dh): first order while dh is not larger than h0."""
        if dh is None:
            return None
        if self.degree != 1:
            first_order = h0 is not None and dh <= h0
            return dh + self._powered(nonzero(h0), less=1) if first_order else self._powered(dh)
        return min(dh, _ZERO) if self.bounded else dh

    def change_needed(self, h0: Fraction, dx: Fraction) -> Fraction:
        """The e(dh) for which `change` is `dx`: its inverse. For a bounded activation only where dx <= 0."""
        if dx > self.degree * h0:
            return dx / self.degree
        return dx - (self.degree - 1) * h0

    def mean_size(self, h: Size) -> Size:
        """Exponent of the mean of x over the neurons when h is centred; None where symmetry makes it 0."""
        if self.kind != "linear":
            return self.size(h)
        if self.odd or h is None:
            return None
        # phi''(0) h^2 / 2, or a kink of the second derivative: second order in h.
        return smaller(2 * h, self.size(h)) if h <= 0 else self.size(h)


def _covered() -> Iterator[Activation]:
    for entry in catalogue.ACTIVATIONS.values():
        if (rule := entry.behaviour) is not None:
            yield Activation(entry.name, rule.kind, rule.degree, rule.bounded, rule.odd, rule.nonlinear)


ACTIVATIONS: Final[dict[str, Activation]] = {entry.name: entry for entry in _covered()}


def activation(name: str) -> Activation:
    """An activation by name; "relu^p" is ReLU to the power p >= 1, for example "relu^2".

    Raises:
        TheoryError: The calculus does not know it; the message has what it covers.

    >>> activation("relu^2").degree, activation("gelu").kind
    (Fraction(2, 1), 'linear')
    """
    try:
        power = relu_power(name) if isinstance(name, str) else None
    except ConfigError as error:
        raise TheoryError(error.problems[0].removeprefix("activation: "), "activation") from None
    if power is not None:
        return Activation(name, "aligned", power)
    check_name(name, ACTIVATIONS, "activation", "relu^p with p >= 1")
    return ACTIVATIONS[name]

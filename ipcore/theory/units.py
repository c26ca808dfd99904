"""How the calculus counts exponents: as fractions, or in whole multiples of a unit.

With a common denominator D of all that enters, halves included, every exponent that the calculus makes is a
multiple of 1/D: it adds exponents, keeps the largest, and multiplies by whole numbers. Then plain integers
can represent them, which is several times as fast for deep networks. `Fractions` leaves exponents as they
are, for unknown exponents (`ipcore.theory.plane`) and for degrees that are not whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol, cast

from ipcore.theory.exponents import open_ended
from ipcore.theory.given_alignment import Alignment
from ipcore.theory.maxplus import Size
from ipcore.theory.parameterization import Parameterization, RatePhase
from ipcore.theory.rules import Rules

_HALF: Final = Fraction(1, 2)


class Unit(Protocol):
    """Exponents as the calculus counts them.

    Attributes:
        half: 1/2.
        one: 1.
    """

    half: Fraction
    one: Fraction

    def counted(self, row: Sequence[Size]) -> list[Size]:
        """Exponents as they are counted; None, a quantity that is zero, stays None."""

    def exponents(self, row: Iterable[Size]) -> tuple[Size, ...]:
        """The exponents that were counted."""


class Fractions:
    """Exponents as they are."""

    half, one = _HALF, Fraction(1)

    def counted(self, row: Sequence[Size]) -> list[Size]:
        """The same."""
        return list(row)

    def exponents(self, row: Iterable[Size]) -> tuple[Size, ...]:
        """The same."""
        return tuple(row)


class Multiples:
    """Exponents as integers, in multiples of 1/D.

    Args:
        denominator: D, even.

    >>> unit = Multiples(4)
    >>> unit.counted([Fraction(-3, 2), None]), unit.exponents([-6, None])
    ([-6, None], (Fraction(-3, 2), None))
    """

    def __init__(self, denominator: int) -> None:
        self._D = denominator
        self._known: dict[Size, Size] = {None: None}
        # Integers in place of fractions: the operations of the calculus are the same for both.
        self.half, self.one = cast(Fraction, denominator // 2), cast(Fraction, denominator)

    def counted(self, row: Sequence[Size]) -> list[Size]:
        """Multiples of 1/D.

        Raises:
            ArithmeticError: An exponent that is not a multiple of 1/D.
        """
        return [None if e is None else self._count(e) for e in row]

    def _count(self, e: Fraction) -> Fraction:
        times, rest = divmod(self._D, e.denominator)
        if rest:
            raise ArithmeticError(f"{e} is not a multiple of 1/{self._D}")
        return cast(Fraction, e.numerator * times)

    def exponents(self, row: Iterable[Size]) -> tuple[Size, ...]:
        """The fractions that they represent."""
        known = self._known
        found = []
        for count in row:
            if count not in known:
                known[count] = Fraction(cast(int, count), self._D)
            found.append(known[count])
        return tuple(found)


FRACTIONS: Final = Fractions()


def unit_of(p: Parameterization, rules: Rules, more: Sequence[Size] = ()) -> Unit:
    """The fastest unit in which all exponents of a network are exact, and some more."""
    if rules.activation.degree.denominator != 1:
        return FRACTIONS
    rows: list[Sequence[Size]] = [more, p.a, p.b, *(r.k for r in p.reweightings), *_rates(p.phases)]
    if p.biases is not None:
        rows += [p.biases.a, p.biases.b, *_rates(p.biases.phases)]
    if (given := rules.alignment) is not None:
        rows += [given.forward, given.backward, given.initial]
    known = {id(e): e for row in rows for e in row if e is not None}.values()  # rows repeat their entries
    if open_ended(known):
        return FRACTIONS
    return Multiples(math.lcm(2, *{e.denominator for e in known}))


def _rates(phases: Iterable[RatePhase]) -> list[Sequence[Size]]:
    return [row for phase in phases for row in (phase.c, phase.d) if row is not None]


@dataclass(frozen=True, slots=True)
class GivenRows:
    """Exponents of alignment that is given (`ipcore.theory.given_alignment`), as they are counted."""

    forward: list[Size]
    backward: list[Size]
    initial: list[Size]

    @classmethod
    def of(cls, unit: Unit, given: Alignment) -> GivenRows:
        """The rows of an alignment."""
        return cls(*map(unit.counted, (given.forward, given.backward, given.initial)))


def counted(unit: Unit, row: Sequence[Fraction]) -> list[Fraction]:
    """Exponents of quantities none of which is zero."""
    return cast("list[Fraction]", unit.counted(row))


def initial_entries(unit: Unit, a: Sequence[Fraction], b: Sequence[Fraction]) -> list[Fraction]:
    """Exponents of the entries of initial matrices or biases: -(a_l + b_l)."""
    return [-(x + y) for x, y in zip(counted(unit, a), counted(unit, b), strict=True)]

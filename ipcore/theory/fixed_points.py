"""Fixed points of the factors of layers under repeated updates (`ipcore.theory.factors`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.factors import (
    Factors,
    Law,
    feeds_itself,
    relative_changes,
    summed,
    total,
)
from ipcore.theory.maxplus import Size, largest, nonzero

_ZERO: Final = Fraction(0)
_ONE: Final = Fraction(1)


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """The fixed point of the factors.

    Attributes:
        total: S*.
        factors: V*.
    """

    total: Fraction
    factors: Factors


def fixed_point(
    V: Sequence[Fraction], change: Sequence[Law], weights: Sequence[Fraction], df: Fraction = _ZERO
) -> FixedPoint | None:
    """The fixed point of the factors under repeated updates; None: they grow beyond every bound.

    The step is monotone and continuous, so it converges to the least fixed point above V, or diverges. A
    fixed point has V*_l = max(V_l, min(cap_l, (k_l + S*) / 2)), so S* is the least root at or above S of

        G(S*) = S - S* + sum_l w_l max(0, min(cap_l, (k_l + S*) / 2) - V_l)

    which is piecewise linear (and convex without caps): O(L log L). At degree 1 without caps a root exists
    iff `largest_pair` <= 0, and it is S + max(0, max_l rho_l), reached after 3 updates. For degrees between 1
    and 2 the factors may approach it without reaching it; caps may be reached late.

    Args:
        V: The factors now, L+1 of them.
        change: The laws of all further updates.
        weights: `degree_weights`.
        df: e(df), the same at all further updates.

    >>> from ipcore.theory.building import custom
    >>> p = custom(1, a=["0", "0"], b=["10", "10"], c=["-1/200"] * 2)  # 1/200 more with every second update
    >>> fixed_point(initial_factors(p), laws(p, "sgd", p.phases[0]), degree_weights(1)) is None
    True
    """
    if all(law.cap is None for law in change) and set(weights) == {_ONE}:
        rho = relative_changes(V, change, total(V, weights, df))
        if feeds_itself(rho):
            return None
        at = total(V, weights, df) + nonzero(largest(_ZERO, *rho))
        return FixedPoint(at, tuple(_settled(v, law, at) for v, law in zip(V, change, strict=True)))
    # Updates that do not depend on the gradient are reached at once.
    base = [max(v, law.update(_ZERO)) if law.k is None else v for v, law in zip(V, change, strict=True)]
    at = total(base, weights, df)
    value, slope = _ZERO, -_ONE  # of G, just right of `at`
    events: list[tuple[Fraction, Fraction]] = []
    for v, law, w in zip(base, change, weights, strict=True):
        if law.k is None or (law.cap is not None and law.cap <= v):
            continue
        begins = 2 * v - law.k
        ends = None if law.cap is None else 2 * law.cap - law.k
        if ends is not None and ends <= at:
            value += w * (ends - begins) / 2
            continue
        if begins <= at:
            value += w * (at - begins) / 2
            slope += w / 2
        else:
            events.append((begins, w / 2))
        if ends is not None:
            events.append((ends, -w / 2))
    for where, bend in sorted(events):
        if value == 0 or (slope < 0 and value + slope * (where - at) <= 0):
            break
        value, at, slope = value + slope * (where - at), where, slope + bend
    if value > 0:
        if slope >= 0:
            return None
        at -= value / slope
    return FixedPoint(at, tuple(_settled(v, law, at) for v, law in zip(base, change, strict=True)))


def least(V: Sequence[Fraction], change: Sequence[Law], weights: Sequence[Fraction]) -> Fraction:
    """The least value of the G of `fixed_point` with e(df) = 0, for laws without caps."""
    starts = [(2 * v - nonzero(law.k), w) for v, law, w in zip(V, change, weights, strict=True)]
    value, at, slope = total(V, weights), _ZERO, -_ONE  # at S* = 0, if nothing were active
    for where, w in sorted(starts):
        value, at, slope = value + slope * (where - at), where, slope + w / 2
        if slope >= 0:
            break
    return value


def _settled(v: Fraction, law: Law, S: Fraction) -> Fraction:
    if law.k is None:
        return v
    balance = (law.k + S) / 2
    return max(v, balance if law.cap is None else min(law.cap, balance))


def entries_at(entries: Sequence[Size], change: Sequence[Law], fixed: FixedPoint) -> tuple[Fraction, ...]:
    """U*_l: the entries that updates have added once the factors stay at `fixed`.

    Args:
        entries: U_l at the start of the phase.
        change: The laws of the phase.
        fixed: From `fixed_point` with these laws.
    """
    found = []
    for added, law, v, extra in zip(entries, change, fixed.factors, summed(len(change) - 1), strict=True):
        update = law.update(fixed.total - v) - extra
        found.append(update if added is None else max(added, update))
    return tuple(found)


def offset_fixed_point(V: Sequence[Fraction], change: Sequence[Law], df: Fraction = _ZERO) -> Factors:
    """The fixed point of `offset_step`.

    Reached after L+1 updates at most: each layer depends only on those above it.
    """
    above = df
    found = []
    for v, law in zip(reversed(V), reversed(change), strict=True):
        found.append(max(v, law.update(above)))
        above += found[-1]
    return tuple(reversed(found))

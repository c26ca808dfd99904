"""Search for the largest delta at which nothing grows: Newton's method, bisection, and a certificate.

Sizes are convex in delta in most networks, so Newton's method from a delta that is too large ends at the
result exactly; where they are not, bisection takes its place. The result is certified: nothing grows at it,
something just above.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.bounds import doubtful
from ipcore.theory.growth import Growth, Network, grows_below, growth, iterated, without_updates
from ipcore.theory.maxplus import above
from ipcore.theory.rules import Rules

_ZERO: Final = Fraction(0)
_NARROW: Final = Fraction(1, 2**32)
_ROUNDS: Final = 120


@functools.lru_cache(maxsize=256)  # a study asks for the same in every round
def largest_bounded(network: Network) -> tuple[Fraction | None, bool]:
    """The largest delta at which nothing grows (None: at none), and whether it is exact."""
    if above(without_updates(network), _ZERO):
        return None, True
    high = _too_large(network)
    # Calibrated first updates are of order 1 whatever the base rate, and may make something grow.
    if network.calibrated and not growth(network, -_far(network)).bounded:
        return None, True
    low = _stable_below(network, high.delta)
    edge = _edge(network, low)
    for turn in range(_ROUNDS):
        if edge is not None:
            return low, edge
        candidate = high.root
        if candidate is None or not low < candidate < high.delta:
            narrow = high.delta - low < _NARROW and turn % 2 == 0
            candidate = _simplest(low, high.delta) if narrow else (low + high.delta) / 2
        found = growth(network, candidate)
        if found.bounded:
            low, edge = candidate, _edge(network, candidate)
        else:
            high = _Point.of(network, candidate, found)
    return low, False


def _edge(network: Network, low: Fraction) -> bool | None:
    """Whether something grows just above for certain; None: nothing seems to."""
    beyond = growth(network, low + _tiny(network))
    if beyond.bounded:
        return None
    return beyond.certain and _whatever_the_alignment(network, low + _tiny(network))


def _tiny(network: Network) -> Fraction:
    """A difference smaller than that of any two deltas at which something changes."""
    more = 4 * network.p.hidden_layers if counts_often(network.setting) else 0
    return Fraction(1, 2 ** (160 + more))


def _far(network: Network) -> Fraction:
    """A number beyond every delta at which something changes."""
    return 1 / _tiny(network)


def counts_often(setting: Rules) -> bool:
    """Whether a rate enters a size more often in deeper networks (and so needs more digits)."""
    return setting.activation.kind == "offset" or setting.activation.degree != 1


@dataclass(frozen=True, slots=True)
class _Point:
    """A delta at which something grows, and where it ends on a straight line (None: unknown)."""

    delta: Fraction
    root: Fraction | None

    @classmethod
    def of(cls, network: Network, delta: Fraction, found: Growth) -> _Point:
        if found.value is None:
            return cls(delta, None)
        near = growth(network, delta - _tiny(network), found.quantity).value
        slope = None if near is None else (found.value - near) / _tiny(network)
        return cls(delta, delta - found.value / slope if slope is not None and slope > 0 else None)


def _too_large(network: Network) -> _Point:
    """A delta at which something grows: more than the first update of the first layer may be."""
    distance = Fraction(2)
    while (found := growth(network, distance)).bounded:
        distance = _farther(network, distance)
    return _Point.of(network, distance, found)


def _stable_below(network: Network, high: Fraction) -> Fraction:
    """A delta below it at which nothing grows; there is one if initial weights alone do not grow."""
    distance = Fraction(2)
    while not growth(network, high - distance).bounded:
        distance = _farther(network, distance)
    return high - distance


def _farther(network: Network, distance: Fraction) -> Fraction:
    """The next distance: twice as large, or, where results have hundreds of digits, with twice as many."""
    return distance**2 if counts_often(network.setting) else 2 * distance


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """A fraction of the smallest denominator strictly between.

    >>> _simplest(Fraction(33, 100), Fraction(34, 100))
    Fraction(1, 3)
    """
    whole = low // 1
    if whole + 1 < high:
        return Fraction(whole + 1)
    # Both lie in one unit: the rest is 1 over a fraction between the reciprocals.
    nearest = 1 / (high - whole)
    rest = Fraction(nearest // 1 + 1) if low == whole else _simplest(nearest, 1 / (low - whole))
    return whole + 1 / rest


def _whatever_the_alignment(network: Network, delta: Fraction) -> bool:
    """Whether a quantity that grows at delta does so whatever the alignment of later steps."""
    if network.setting.alignment is not None or not doubtful(network.p, network.setting):
        return True
    if network.setting.normalized:  # the two runs are not bounds
        return growth(network, delta) == iterated(network, delta, aligned=False)
    return grows_below(network, delta)

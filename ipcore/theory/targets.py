"""Stable changes of all layers by a step: the largest ones, and the largest common one.

A change of x^{l-1} is passed on by the initial matrix: v_l more in its exponent. So the change of h^l is at
least as large as that, and each bound on a layer is one on the layer below. With R_{L+1} = 0 for the output

    R_l = min(0, the change of h^l that W_0^{l+1} turns into at most R_{l+1})

is met in all layers at once: the largest vector of changes that is stable, and the only one. [ours,
docs/theory.md, section 4]

Where preactivations are normalized only their changes relative to their sizes are passed on, and none is
larger than 1 to what is above: h^l may change by m^{e(h_0^l)} at most, and R_l is that or less.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final

from ipcore.theory.calculus import Propagation

_ZERO: Final = Fraction(0)


def largest_changes(run: Propagation) -> tuple[Fraction, ...]:
    """R_1..R_L: exponents of the largest stable changes of h^1..h^L.

    Args:
        run: After `forward(0)`, with nothing that grows at initialization.
    """
    allowed = [_ZERO] * (run.L + 1)
    for i in range(run.L, 0, -1):
        allowed[i - 1] = _most(run, i, allowed[i])
    return tuple(allowed[:-1])


def _most(run: Propagation, i: int, allowed: Fraction) -> Fraction:
    """The largest change of layer i-1 which the initial matrix above turns into what is allowed or less."""
    phi, h0, dx = run.rules.activation, run.h0[i - 1], allowed - run.passed_on(i)
    if run.rules.normalized:
        return h0 + min(_ZERO, phi.change_needed(_ZERO, dx))
    return min(_ZERO, phi.change_needed(h0, dx))


def balanced_changes(run: Propagation) -> tuple[Fraction, ...]:
    """-r for every hidden layer, with the smallest r >= 0 for which the output changes by at most order 1.

    Relative to the sizes of the layers where preactivations are normalized.

    Args:
        run: As for `largest_changes`.
    """
    last = _most(run, run.L, _ZERO)
    if run.rules.normalized:
        return tuple(h0 + last - run.h0[run.L - 1] for h0 in run.h0[:-1])
    return (last,) * run.L


KINDS: Final[dict[str, Callable[[Propagation], tuple[Fraction, ...]]]] = {
    "largest": largest_changes,
    "balanced": balanced_changes,
}

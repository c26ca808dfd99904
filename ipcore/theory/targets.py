"""By how much a step may change every layer: the largest changes, and the largest common one.

A change of x^{l-1} is passed on by the initial matrix: v_l more in its exponent. So the change of h^l is at
least as large as that, and each bound on a layer is one on the layer below. With R_{L+1} = 0 for the output

    R_l = min(0, the change of h^l that W_0^{l+1} turns into at most R_{l+1})

is met in all layers at once: the largest vector of changes that is stable, and the only one. [ours,
docs/theory.md, section 4]
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
    phi, allowed = run.rules.activation, [_ZERO] * (run.L + 1)
    for i in range(run.L, 0, -1):
        below = phi.change_needed(run.h0[i - 1], allowed[i] - run.passed_on(i))
        allowed[i - 1] = min(_ZERO, below)
    return tuple(allowed[:-1])


def balanced_changes(run: Propagation) -> tuple[Fraction, ...]:
    """-r for every hidden layer, with the smallest r >= 0 for which the output changes by at most order 1.

    Args:
        run: As for `largest_changes`.
    """
    below = run.rules.activation.change_needed(run.h0[run.L - 1], -run.passed_on(run.L))
    return (min(_ZERO, below),) * run.L


KINDS: Final[dict[str, Callable[[Propagation], tuple[Fraction, ...]]]] = {
    "largest": largest_changes,
    "balanced": balanced_changes,
}

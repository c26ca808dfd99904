"""Parameterizations from lists of exponents as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ipcore.theory.errors import TheoryError
from ipcore.theory.parameterization import Parameterization, RatePhase, check_depth, expand_layers


def custom(
    hidden_layers: int,
    a: Sequence[str | Fraction | int],
    b: Sequence[str | Fraction | int],
    c: Sequence[str | Fraction | int],
    c_first_step: Sequence[str | Fraction | int] = (),
    d: Sequence[str | Fraction | int] = (),
    d_first_step: Sequence[str | Fraction | int] = (),
) -> Parameterization:
    """A parameterization from exponents written out.

    Args:
        hidden_layers: L, 1..10,000.
        a: Multipliers; each list has 3 entries (first, hidden, last) or L+1.
        b: Initial standard deviations.
        c: Learning rates; from step 1 on if `c_first_step` is given.
        c_first_step: Learning rates of step 0; empty: as `c`.
        d: Adam's epsilon exponents; empty: epsilon is negligible.
        d_first_step: Those of step 0; empty: as `d`.

    Raises:
        TheoryError: `d_first_step` without `d`; else as `expand_layers`; `field` names the list and entry.

    >>> naive_ip = custom(4, a=["0", "1", "1"], b=["0", "0", "0"], c=["-1", "-2", "-1"])
    >>> naive_ip.hidden_layers
    4
    """
    check_depth(hidden_layers)
    later = expand_layers(c, hidden_layers, "c")
    epsilon = expand_layers(d, hidden_layers, "d") if d else None
    if d_first_step and epsilon is None:
        raise TheoryError("needs d, the epsilon exponents from step 1 on", "d_first_step")
    phases: tuple[RatePhase, ...] = (RatePhase(0, later, epsilon),)
    if c_first_step or d_first_step:
        first = expand_layers(c_first_step, hidden_layers, "c_first_step") if c_first_step else later
        first_epsilon = (
            expand_layers(d_first_step, hidden_layers, "d_first_step") if d_first_step else epsilon
        )
        phases = (RatePhase(0, first, first_epsilon), RatePhase(1, later, epsilon))
    return Parameterization(
        expand_layers(a, hidden_layers, "a"), expand_layers(b, hidden_layers, "b"), phases
    )

"""Parameterizations from lists of exponents as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ipcore.theory.checks import check_depth, expand_layers
from ipcore.theory.errors import Findings, TheoryError
from ipcore.theory.exponents import sequence
from ipcore.theory.parameterization import Exponents, Parameterization, RatePhase


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
        TheoryError: A number of hidden layers out of range, `d_first_step` without `d`, or as
            `expand_layers`; `problems` names all lists and entries that are wrong.

    >>> naive_ip = custom(4, a=["0", "1", "1"], b=["0", "0", "0"], c=["-1", "-2", "-1"])
    >>> naive_ip.hidden_layers
    4
    """
    check_depth(hidden_layers)
    findings = Findings()
    needed = {"a": a, "b": b, "c": c}
    optional = {"c_first_step": c_first_step, "d": d, "d_first_step": d_first_step}
    rows: dict[str, Exponents] = {}
    for name, entries in (needed | optional).items():
        with findings.noted():
            if name in needed or sequence(entries, name):
                rows[name] = expand_layers(entries, hidden_layers, name)
    with findings.noted():
        if "d_first_step" in rows and not d:
            raise TheoryError("needs d, the epsilon exponents from step 1 on", "d_first_step")
    findings.check()
    later, epsilon = rows["c"], rows.get("d")
    phases: tuple[RatePhase, ...] = (RatePhase(0, later, epsilon),)
    if "c_first_step" in rows or "d_first_step" in rows:
        first = RatePhase(0, rows.get("c_first_step", later), rows.get("d_first_step", epsilon))
        phases = (first, RatePhase(1, later, epsilon))
    return Parameterization(rows["a"], rows["b"], phases)

"""The factors in all further steps, decided without iterating (derivation: docs/theory.md).

While f is bounded, or the loss has a bounded derivative, e(df) = 0, and the factors go to the fixed point
of `ipcore.theory.factors` or beyond every bound. With squared errors e(df) = e(f) once f grows. Then, at
degree 1, one update of layer l changes f by order m^(T_l) times f, T_l = 1 + k_l + 2 (S - V_l), where S is
without e(df): if some T_l > 0, f feeds itself and everything grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.calculus import Propagation
from ipcore.theory.factors import (
    Law,
    covered,
    degree_weights,
    factors,
    feeds_itself,
    laws,
    relative_changes,
    summed,
    total,
)
from ipcore.theory.fixed_points import FixedPoint, entries_at, fixed_point, least, offset_fixed_point
from ipcore.theory.maxplus import largest, nonzero
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.rules import Rules
from ipcore.theory.sizes import Sizes

_ZERO: Final = Fraction(0)
_ROUNDS: Final = 8  # of e(f) against e(df), squared errors


@dataclass(frozen=True, slots=True)
class Future:
    """All further steps.

    Attributes:
        bounded: Whether sizes stay bounded; None: not decided.
        limit: Sizes after so many steps that nothing changes, or that they approach; None unless bounded.
        entries: U*_l at the limit; empty unless bounded.
        reason: Why they grow beyond every bound, in words; empty otherwise.
        marginal: Whether two layers, whose updates are exactly as large as their factors, keep each other
            there.
        signs: Whether the size of some update at the limit does not depend on the gradient (a sign, or
            orthogonalized).
    """

    bounded: bool | None
    limit: Sizes | None = None
    reason: str = ""
    marginal: bool = False
    signs: bool = False


def decides(p: Parameterization, setting: Rules) -> bool:
    """Whether `future` covers a network."""
    given = setting.alignment is not None and not setting.alignment.derived
    return covered(p) and not given and not setting.block_matrices and not setting.normalized


def future(run: Propagation, step: int, faster: Sequence[Fraction] | None = None) -> Future:
    """The sizes in all further steps with the rates of `step`.

    Args:
        run: After `backward(step)`, without a hidden preactivation that grows.
        step: Updates done so far.
        faster: Rates of W^l are m^{faster_l} times as large; None: as they are.
    """
    if not decides(run.p, run.rules):
        return Future(None)
    if not run.aligned:
        return _at_least(run, step)
    run = run.in_fractions()  # limits may lie between multiples of the unit
    change = _laws(run, step, faster)
    offset = run.rules.activation.kind == "offset"
    return _offset(run, change, step) if offset else _aligned(run, change, step)


def pressure(run: Propagation, step: int, faster: Sequence[Fraction] | None = None) -> Fraction | None:
    """The least value of G(S*). The total at the fixed point is a root of G; there is none iff this is > 0.

    G(S*) = S - S* + sum_l w_l max(0, (k_l + S*) / 2 - V_l) with e(df) = 0; at degree 1 half the largest
    rho_j + rho_k. Arguments are as for `future`, which covers the network.

    Returns:
        None where there is always a fixed point: updates with a size of their own, offset activations.
    """
    p, setting = run.p, run.rules
    if setting.entrywise or setting.activation.kind == "offset":
        return None
    weights = degree_weights(p.hidden_layers, setting.activation.degree)
    return least(factors(p, run.entries()), _laws(run, step, faster), weights)


def _laws(run: Propagation, step: int, faster: Sequence[Fraction] | None = None) -> tuple[Law, ...]:
    found = laws(run.p, run.rules.optimizer, run.p.phase_at(step), run.rules.epsilon)
    if faster is None:
        return found
    return tuple(law.faster(more) for law, more in zip(found, faster, strict=True))


def _aligned(run: Propagation, change: Sequence[Law], step: int) -> Future:
    p, setting = run.p, run.rules
    w = degree_weights(p.hidden_layers, setting.activation.degree)
    V = factors(p, run.entries())
    df = nonzero(run.dh[-1])
    for _ in range(_ROUNDS):
        fixed = fixed_point(V, change, w, df)
        if fixed is None:
            return Future(False, reason=_why(V, change, w, df))
        limit = run.with_entries(entries_at(run.entries(), change, fixed), step)
        grown = setting.loss_derivative(limit.h[-1])
        if grown <= df:
            marginal = setting.activation.degree == 1 and _balanced(change, fixed) > 1
            return Future(True, limit, "", marginal, _signs(change, fixed))
        df = grown
        if setting.activation.degree == 1 and _feeds_itself(fixed.factors, change):
            return Future(
                False,
                reason="with squared errors the derivative grows with the output, and the next update of a "
                "layer moves the output by more than it has grown",
            )
    return Future(None)


def _at_least(run: Propagation, step: int) -> Future:
    """Whether even random sums grow beyond every bound, and so a lower bound does.

    With activations that are linear at 0 no product is smaller than a random sum, forward or backward, and
    with random sums the factors of hidden matrices are max(1/2 - s_l, 1/2 + U_l), the same both ways. They
    follow the rule of `feeds_itself`, with 1/2 less in k_l. [ours]
    """
    p, setting = run.p, run.rules
    if setting.activation.kind != "linear" or setting.entrywise:
        return Future(None)
    run = run.in_fractions()
    less = [extra / 2 for extra in summed(p.hidden_layers)]
    entries = [None if e is None else e - by for e, by in zip(run.entries(), less, strict=True)]
    change = [Law(nonzero(law.k) - by, None) for law, by in zip(_laws(run, step), less, strict=True)]
    V = factors(p, entries)
    S = total(V, degree_weights(p.hidden_layers))
    if feeds_itself(relative_changes(V, change, S)):
        w = degree_weights(p.hidden_layers)
        return Future(False, reason=f"even without any alignment {_why(V, change, w, _ZERO)}")
    return Future(None)


def _offset(run: Propagation, change: Sequence[Law], step: int) -> Future:
    p, setting = run.p, run.rules
    V = factors(p, run.entries())
    df = nonzero(run.dh[-1])
    extra = summed(p.hidden_layers)
    for _ in range(_ROUNDS):
        fixed = offset_fixed_point(V, change, df)
        entries = list(run.entries())
        above, signs = df, False
        for i in range(p.hidden_layers, -1, -1):
            entries[i] = largest(entries[i], change[i].update(above) - extra[i])
            signs = signs or _capped(change[i], above)
            above += fixed[i]
        limit = run.with_entries(entries, step)
        grown = setting.loss_derivative(limit.h[-1])
        if grown <= df:
            return Future(True, limit, signs=signs)
        df = grown
    return Future(None)


def _feeds_itself(V: Sequence[Fraction], change: Sequence[Law]) -> bool:
    S = sum(V, _ZERO)
    return any(
        law.cap is None and law.k is not None and 1 + law.k + 2 * (S - v) > 0
        for v, law in zip(V, change, strict=True)
    )


def _capped(law: Law, gradient: Fraction) -> bool:
    """Whether the size of an update does not depend on the gradient, as for signs."""
    return law.cap is not None and (law.k is None or law.k + gradient >= law.cap)


def _signs(change: Sequence[Law], fixed: FixedPoint) -> bool:
    return any(_capped(law, fixed.total - v) for law, v in zip(change, fixed.factors, strict=True))


def _balanced(change: Sequence[Law], fixed: FixedPoint) -> int:
    """Number of layers with rho = 0; if the largest rho_j + rho_k is 0, both are at the fixed point."""
    gradients = [(law, v, fixed.total - v) for law, v in zip(change, fixed.factors, strict=True)]
    return sum(law.update(g) == v and not _capped(law, g) for law, v, g in gradients)


def _why(V: Sequence[Fraction], change: Sequence[Law], w: Sequence[Fraction], df: Fraction) -> str:
    rho = relative_changes(V, change, total(V, w, df))
    if w[0] != 1:
        return "each update makes gradients larger by more than the layers' sizes can balance"
    (first, j), (second, k) = sorted(((r, i) for i, r in enumerate(rho)), reverse=True)[:2]
    j, k = sorted((j + 1, k + 1))
    return (
        f"updates of W^{j} and W^{k} make each other's gradients larger: relative to the matrices they are "
        f"of order m^e with exponents that add up to {first + second} > 0, so they grow in every second step"
    )

"""Factors by which layers multiply sizes, and their fixed points.

For an activation of degree 1, without own biases, means or re-weighted matrices, and while the inner
products are aligned, write U_l for the entries that updates have added to W^l so far (an exponent of m) and
s_l = a_l + b_l:

    V_1 = max(-s_1, U_1),  V_l = max(1/2 - s_l, 1 + U_l) for 1 < l <= L,  V_{L+1} = max(-s_{L+1}, U_{L+1})

Forward, e(h^l) = V_1 + .. + V_l (l <= L); backward, e(dh^l) = V_{l+1} + .. + V_{L+1} + e(df). So the gradient
of W^l has size S - V_l with the *total* S = V_1 + .. + V_{L+1} + e(df), and one step of gradient descent is

    V_l <- max(V_l, k_l + S - V_l),    k_l = -c_l - 2 a_l + [1 < l <= L]

At degree p (x = h^p) the same holds with S = sum_l w_l V_l + e(df), w_l = p^{L+1-l} for l <= L, w_{L+1} = 1.
Momentum takes the largest gradient so far; S - V_l never shrinks, so this equals gradient descent. A sign
adds -c_l - a_l + [1 < l <= L] whatever the gradient, an orthogonalized matrix its exponent e_l more
(`ipcore.theory.rules.update_entry`); Adam the smaller of that and gradient descent with c_l - d_l. With an
offset activation (phi(0) != 0) e(x) = 0 while e(h) <= 0; only the factors above a layer matter then:

    V_l <- max(V_l, k_l + V_{l+1} + .. + V_{L+1} + e(df)),    e(h^l) = V_l

These identities, and what follows from them for all steps, are ours (docs/theory.md). They rewrite the rules
of `ipcore.theory.calculus`; tests compare both. All functions are pure; layers are 0..L in tuples; e(df) is
an argument, 0 for losses with bounded derivatives.

>>> from ipcore.theory.presets import preset
>>> p = preset("ip", 3)
>>> V, w, change = initial_factors(p), degree_weights(3), laws(p, "sgd", p.phases[0])
>>> [str(rho) for rho in relative_changes(V, change, total(V, w))]
['-1', '0', '0', '-1']
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, combinations
from typing import Final

from ipcore.catalogue import KNOWN_OPTIMIZERS
from ipcore.theory.exponents import here, open_ended
from ipcore.theory.maxplus import Size
from ipcore.theory.parameterization import Parameterization, RatePhase
from ipcore.theory.rules import rule_of, update_entry

_ZERO: Final = Fraction(0)
_HALF: Final = Fraction(1, 2)
_ONE: Final = Fraction(1)
Factors = tuple[Fraction, ...]
"""V_1..V_{L+1}."""


@dataclass(frozen=True, slots=True)
class Law:
    """Size of the update of one layer, as a factor: min(k + gradient, cap), without a term that is None.

    The gradient is S - V_l (offset activations: the sum of the factors above).

    Attributes:
        k: k_l of gradient descent; None: the update does not depend on the gradient.
        cap: -c_l - a_l + e_l + [1 < l <= L] of an update whose size does not depend on the gradient; None: no
            bound.
    """

    k: Fraction | None
    cap: Fraction | None

    def update(self, gradient: Fraction) -> Fraction:
        """The factor that the update alone makes."""
        sizes = [] if self.k is None else [self.k + gradient]
        return min(sizes if self.cap is None else [*sizes, self.cap])

    def faster(self, by: Fraction) -> Law:
        """The law at a rate m^by times as large."""
        return Law(None if self.k is None else self.k + by, None if self.cap is None else self.cap + by)


def covered(p: Parameterization) -> bool:
    """Whether the identities hold: no biases with their own exponents, no means, no re-weighted matrices.

    For activations that are linear at 0 (tanh, GELU) they give the aligned upper bound, while e(h) <= 0.
    """
    return p.biases is None and p.mean is None and not p.reweightings


def degree_weights(hidden_layers: int, degree: Fraction = _ONE) -> Factors:
    """w_1..w_{L+1}: weights of the factors in the total, for an activation of degree p.

    >>> [str(w) for w in degree_weights(3, Fraction(2))]
    ['8', '4', '2', '1']
    """
    if degree == 1:
        return (_ONE,) * (hidden_layers + 1)
    powers = list(accumulate([degree] * hidden_layers, lambda power, p: power * p))
    return (*reversed(powers), _ONE)


def summed(hidden_layers: int) -> Factors:
    """[1 < l <= L]: the exponent that the sum over m aligned terms adds to entries of an update."""
    return (_ZERO, *[_ONE] * (hidden_layers - 1), _ZERO)


def initial_factors(p: Parameterization) -> Factors:
    """V_l without any update: -s_1, 1/2 - s_l, -s_{L+1}."""
    return factors(p, (None,) * (p.hidden_layers + 1))


def factors(p: Parameterization, entries: Sequence[Size]) -> Factors:
    """V_l from U_l, the entries that updates have added to W^l (None: no update yet)."""
    V = []
    for i, (a, b, added, extra) in enumerate(zip(p.a, p.b, entries, summed(p.hidden_layers), strict=True)):
        start = (_HALF if 0 < i < p.hidden_layers else _ZERO) - a - b
        V.append(start if added is None else max(start, added + extra))
    return tuple(V)


def laws(
    p: Parameterization, optimizer: str, phase: RatePhase, epsilon: Sequence[str] = ()
) -> tuple[Law, ...]:
    """The laws of an update with the exponents of `phase` in each layer; names as in `rules`."""
    rule = KNOWN_OPTIMIZERS[rule_of(optimizer)]
    found = []
    for i, (a, c, extra) in enumerate(zip(p.a, phase.c, summed(p.hidden_layers), strict=True)):
        if not rule.entrywise:
            found.append(Law(extra - c - 2 * a, None))
        elif not rule.has_epsilon or phase.d is None or (epsilon and epsilon[i] == "negligible"):
            own = extra + update_entry(rule.name, i, p.hidden_layers)
            found.append(Law(None, own - c - a))
        else:
            dominates = bool(epsilon) and epsilon[i] == "dominating"
            found.append(Law(extra - c + phase.d[i] - 2 * a, None if dominates else extra - c - a))
    return tuple(found)


def total(V: Sequence[Fraction], weights: Sequence[Fraction], df: Fraction = _ZERO) -> Fraction:
    """S = sum_l w_l V_l + e(df)."""
    return sum((w * v for w, v in zip(weights, V, strict=True)), df)


def relative_changes(V: Sequence[Fraction], change: Iterable[Law], S: Fraction) -> Factors:
    """rho_l: the next update of a layer relative to its factor; above 0 the factor grows.

    For gradient descent rho_l = k_l + S - 2 V_l.
    """
    return tuple(law.update(S - v) - v for law, v in zip(change, V, strict=True))


def step(
    V: Sequence[Fraction], change: Iterable[Law], weights: Sequence[Fraction], df: Fraction = _ZERO
) -> Factors:
    """The factors after one more update."""
    rho = relative_changes(V, change, total(V, weights, df))
    return tuple(v + max(_ZERO, r) for v, r in zip(V, rho, strict=True))


def largest_pair(rho: Sequence[Fraction]) -> Fraction:
    """The largest rho_j + rho_k with j != k: at degree 1 gradient descent stays bounded iff it is <= 0.

    Layer j makes the gradient of layer k larger and the other way round: the cycle j -> k -> j grows by
    (rho_j + rho_k) / 2 per step. One layer alone cannot feed itself: S - V_l does not contain V_l.
    """
    first, second = sorted(rho, key=here, reverse=True)[:2]
    return first + second


def feeds_itself(rho: Sequence[Fraction]) -> bool:
    """Whether `largest_pair` is above 0.

    >>> feeds_itself((Fraction(1), Fraction(-2), Fraction(-1))), feeds_itself((Fraction(1), Fraction(0)))
    (False, True)
    """
    if largest_pair(rho) > 0:
        return True
    # With unknown exponents, the two that are the largest at one point may not be so at others.
    return any(one + two > 0 for one, two in combinations(rho, 2)) if open_ended(rho) else False


def offset_step(V: Sequence[Fraction], change: Sequence[Law], df: Fraction = _ZERO) -> Factors:
    """The factors after one more update with an offset activation, while e(h) <= 0 in every hidden layer."""
    above = df
    found = []
    for v, law in zip(reversed(V), reversed(change), strict=True):
        found.append(max(v, law.update(above)))
        above += v
    return tuple(reversed(found))

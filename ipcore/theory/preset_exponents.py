"""Exponents of the published parameterizations, as functions of the number L of hidden layers.

Lists of three are (first layer, hidden matrices, readout). Names, sources and descriptions: `presets`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final

from ipcore.theory.building import custom
from ipcore.theory.errors import TheoryError
from ipcore.theory.parameterization import Biases, Exponents, Parameterization, RatePhase, Reweighting

# Hidden layers L >= 1 -> exponents.
Build = Callable[[int], Parameterization]
_HALF: Final = Fraction(1, 2)
_ZERO: Final = Fraction(0)
_ONE: Final = Fraction(1)


def sp(hidden_layers: int) -> Parameterization:
    """Standard: weights of variance 1/fan-in, one rate."""
    return custom(hidden_layers, a=[_ZERO] * 3, b=[_ZERO, _HALF, _HALF], c=[_ZERO] * 3)


def sp_stable(hidden_layers: int) -> Parameterization:
    """Standard with rate 1/m in every layer."""
    return custom(hidden_layers, a=[_ZERO] * 3, b=[_ZERO, _HALF, _HALF], c=[_ONE] * 3)


def sp_large(hidden_layers: int) -> Parameterization:
    """Standard with rate m^{-1/2} in every layer."""
    return custom(hidden_layers, a=[_ZERO] * 3, b=[_ZERO, _HALF, _HALF], c=[_HALF] * 3)


def sp_large_adam(hidden_layers: int) -> Parameterization:
    """Standard with rate 1/m in every layer, for Adam with epsilon as large as the gradients."""
    return _standard_adam(hidden_layers, [_ONE] * 3)


def sp_per_layer(hidden_layers: int) -> Parameterization:
    """Standard with a rate per layer, as large as if W_0^{L+1} (x_t - x_0) did not add up.

    Everett et al. (arXiv:2407.05872), full alignment, computed from their assumption: every hidden layer may
    move by order 1, so c_l = e(grad W^l) + [l > 1] with e(grad W^l) = -1/2 for l <= L and 0 for the readout.
    """
    return custom(hidden_layers, a=[_ZERO] * 3, b=[_ZERO, _HALF, _HALF], c=[-_HALF, _HALF, _ONE])


def sp_per_layer_adam(hidden_layers: int) -> Parameterization:
    """Likewise with Adam: c_l = [l > 1]."""
    return _standard_adam(hidden_layers, [_ZERO, _ONE, _ONE])


def _standard_adam(hidden_layers: int, c: list[Fraction]) -> Parameterization:
    d = [
        _HALF,
        _HALF,
        _ZERO,
    ]  # gradients of hidden layers are of order m^{-1/2}, that of the readout of order 1
    return custom(hidden_layers, a=[_ZERO] * 3, b=[_ZERO, _HALF, _HALF], c=c, d=d)


def ntk(hidden_layers: int) -> Parameterization:
    """Neural tangent kernel."""
    return custom(hidden_layers, a=[_ZERO, _HALF, _HALF], b=[_ZERO] * 3, c=[_ZERO] * 3)


def mup(hidden_layers: int) -> Parameterization:
    """Maximal update in the gauge b = 0."""
    return custom(hidden_layers, a=[_ZERO, _HALF, _ONE], b=[_ZERO] * 3, c=[-_ONE] * 3)


def mup_yang_hu(hidden_layers: int) -> Parameterization:
    """Maximal update in Yang & Hu's gauge, c = 0."""
    return custom(hidden_layers, a=[-_HALF, _ZERO, _HALF], b=[_HALF] * 3, c=[_ZERO] * 3)


def mfp(hidden_layers: int) -> Parameterization:
    """Mean field, L = 1."""
    if hidden_layers != 1:
        raise TheoryError(
            f"'mfp' is defined for 1 hidden layer, not {hidden_layers}; its deep versions are 'ip' and 'mup'",
            "hidden_layers",
        )
    return custom(1, a=[_ZERO, _ONE], b=[_ZERO] * 2, c=[-_ONE] * 2)


def ip(hidden_layers: int) -> Parameterization:
    """Integrable: 1/m in every layer but the first."""
    return custom(hidden_layers, a=[_ZERO, _ONE, _ONE], b=[_ZERO] * 3, c=[-_ONE, -2 * _ONE, -_ONE])


def between(s: Fraction) -> Build:
    """The line from muP (s = 0) to NTK (s = 1/2): features move like m^{-s}."""

    def build(hidden_layers: int) -> Parameterization:
        return custom(hidden_layers, a=[_ZERO, _HALF, 1 - s], b=[_ZERO] * 3, c=[2 * s - 1] * 3)

    return build


def sp_adam(hidden_layers: int) -> Parameterization:
    """Standard with one rate and one epsilon, as frameworks have it."""
    return custom(hidden_layers, a=[_ZERO] * 3, b=[_ZERO, _HALF, _HALF], c=[_ZERO] * 3, d=[_ZERO] * 3)


def faithful_adam(build: Build) -> Build:
    """Rates and epsilons for Adam with the same a and b, inside the class of arXiv:2011.14522.

    Faithful epsilons are those of Yang & Littwin (arXiv:2308.01814). The closed form of the largest stable
    rates is ours; it meets their conditions for stability.

    r = max(0, 1 - a_{L+1} - b_{L+1}),  c_l = r + 1(l > 1) - a_l,  d_l = a_l + a_{L+1} + b_{L+1} for l <= L,
    c_{L+1} = 1 - a_{L+1},  d_{L+1} = a_{L+1}.
    """

    def build_adam(hidden_layers: int) -> Parameterization:
        p = build(hidden_layers)
        a, readout = p.a, p.a[-1] + p.b[-1]
        r = max(_ZERO, 1 - readout)
        c = [r - a[0], *(r + 1 - entry for entry in a[1:-1]), 1 - a[-1]]
        d = [*(entry + readout for entry in a[:-1]), a[-1]]
        return custom(hidden_layers, a=p.a, b=p.b, c=c, d=d)

    return build_adam


# From Adam's exponents and the entries of another optimizer's updates (first, hidden, last) to its exponents.
Adjust = Callable[[Parameterization, tuple[Fraction, Fraction, Fraction]], Parameterization]


def per_layer(p: Parameterization, entries: tuple[Fraction, Fraction, Fraction]) -> Parameterization:
    """Rates under which the updates of every layer are as large as Adam's, without epsilon.

    c_l grows by the exponent e_l of the entries, since c_l = -a_l + q_l + .. with q_l = e_l + [l > 1]
    (docs/theory.md).
    """
    first, hidden, last = entries
    more = (first, *[hidden] * (p.hidden_layers - 1), last)
    return _without_epsilon(p, more)


def one_rate(p: Parameterization, entries: tuple[Fraction, Fraction, Fraction]) -> Parameterization:
    """As `per_layer`, but every layer has what the hidden matrices have: for presets with one rate."""
    return _without_epsilon(p, (entries[1],) * len(p.a))


def same_rate(p: Parameterization, entries: tuple[Fraction, Fraction, Fraction]) -> Parameterization:
    """The same rate in every layer."""
    return _without_epsilon(p, (_ZERO,) * len(p.a))


def _without_epsilon(p: Parameterization, more: Exponents) -> Parameterization:
    phases: list[RatePhase] = []
    for phase in p.phases:
        c = tuple(rate + extra for rate, extra in zip(phase.c, more, strict=True))
        if not phases or phases[-1].c != c:
            phases.append(RatePhase(phase.start, c))
    return Parameterization(p.a, p.b, tuple(phases))


def ip_adam(hidden_layers: int) -> Parameterization:
    """Sign-like updates do not vanish with activations: c = 0 at every step; epsilon follows the gradients.

    Gradients with respect to w^l are of order m^{-(L+1)/2} at step 0 and m^{-(L+2)/2} in hidden matrices;
    from step 1 on, when activations are of order 1, of order m^{-1} and m^{-2}. (Ours: Hajjar et al. train by
    gradient descent.)
    """
    naive = ip(hidden_layers)
    zeros = (_ZERO,) * (hidden_layers + 1)
    outer, inner = Fraction(hidden_layers + 1, 2), Fraction(hidden_layers + 2, 2)
    first = (outer, *[inner] * (hidden_layers - 1), outer)
    later = (_ONE, *[2 * _ONE] * (hidden_layers - 1), _ONE)
    phases = (RatePhase(0, zeros, first), RatePhase(1, zeros, later))
    return Parameterization(naive.a, naive.b, phases[:1] if first == later else phases)


def ip_llr(hidden_layers: int) -> Parameterization:
    """Integrable, with large rates at step 0 that compensate activations that vanish at initialization."""
    naive = ip(hidden_layers)
    outer, inner = -Fraction(hidden_layers + 1, 2), -Fraction(hidden_layers + 2, 2)
    first = (outer, *[inner] * (hidden_layers - 1), outer)
    return Parameterization(naive.a, naive.b, _two_phases(first, naive.phases[0].c))


def ip_bias(hidden_layers: int) -> Parameterization:
    """Integrable with biases of order 1 in every layer, which have exponents of their own."""
    naive = ip(hidden_layers)
    L = hidden_layers
    first = (-Fraction(L + 1, 2), *[-Fraction(L - i + 4, 2) for i in range(2, L + 1)], -_ONE)
    bias_first = (*[-Fraction(L - i + 2, 2) for i in range(1, L + 1)], _ZERO)
    zeros = (_ZERO,) * (L + 1)
    biases = Biases(zeros, zeros, _two_phases(bias_first, (*[-_ONE] * L, _ZERO)))
    return Parameterization(naive.a, naive.b, _two_phases(first, naive.phases[0].c), biases)


def ip_non_centered(hidden_layers: int) -> Parameterization:
    """Integrable, with weights whose mean is of order 1 from the second layer on."""
    naive = ip(hidden_layers)
    return Parameterization(naive.a, naive.b, naive.phases, mean=(None, *[_ZERO] * hidden_layers))


def _hybrid(hidden_layers: int, k: Fraction | None) -> Parameterization:
    base = mup(hidden_layers)
    if hidden_layers == 1:
        return base  # there is no hidden matrix to re-weight
    weights = (_ZERO, *[k] * (hidden_layers - 1), _ZERO)
    return Parameterization(base.a, base.b, base.phases, reweightings=(Reweighting(1, weights),))


def hp(hidden_layers: int) -> Parameterization:
    """As muP, but initial hidden matrices count m^{-1/2} from step 1 on."""
    return _hybrid(hidden_layers, _HALF)


def hpz(hidden_layers: int) -> Parameterization:
    """As muP, but initial hidden matrices are removed from step 1 on."""
    return _hybrid(hidden_layers, None)


def _two_phases(first: Exponents, later: Exponents) -> tuple[RatePhase, ...]:
    return (RatePhase(0, first),) if first == later else (RatePhase(0, first), RatePhase(1, later))

"""From sizes to a regime: the infinite-width behaviour of a network, and the inequality that decides.

In this order (stability, nontriviality and the dichotomy feature learning / kernel follow Yang & Hu,
arXiv:2011.14522, section 3; operator for Adam: Yang & Littwin, arXiv:2308.01814; stationary: Hajjar et al.,
arXiv:2110.15596):

    unstable               some hidden e(h_t) > 0 at some step; with squared errors also e(f_t) > 0
    controlled_divergence  some e(f_t) > 0 alone: the derivative of the loss is bounded, hidden layers stay so
    trivial                e(f_t - f_0) < 0 at all t >= 1
    feature_learning       some hidden e(h_t - h_0) >= e(h_0)
    kernel, operator       every hidden layer stays below (operator: some update is a sign, or orthogonalized)

Controlled divergence: Haas et al., arXiv:2505.22491; its conditions for any exponents are ours. A change does
not count the part that re-weighting the initial matrices takes away.

Where alignment is in doubt there are two sets of sizes, an upper and a lower bound; if their regimes differ,
the regime is "measure".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from ipcore.theory.maxplus import above, at_least, nonzero
from ipcore.theory.rules import Rules
from ipcore.theory.sizes import Sizes
from ipcore.theory.trajectory import End, Trajectory, is_catastrophic, is_growing

_ZERO: Final = Fraction(0)


class Regime(StrEnum):
    """Behaviour in the limit of infinite width."""

    UNSTABLE = "unstable"
    CONTROLLED_DIVERGENCE = "controlled_divergence"
    TRIVIAL = "trivial"
    FEATURE_LEARNING = "feature_learning"
    KERNEL = "kernel"
    OPERATOR = "operator"
    MEASURE = "measure"


@dataclass(frozen=True, slots=True)
class FeatureMove:
    """A hidden layer whose features move.

    Attributes:
        layer: l, 1..L.
        step: Updates after which e(h_t^l - h_0^l) >= e(h_0^l) for the first time.
    """

    layer: int
    step: int


def decide(upper: Trajectory, lower: Trajectory, rules: Rules) -> tuple[Regime, tuple[FeatureMove, ...]]:
    """The regime, and the hidden layers whose features move for certain in the computed steps.

    It only compares exponents, so unknowns of `ipcore.theory.plane` may take their place.
    """
    high = regime_of(upper, rules)
    certain = (
        not is_open(upper, high)
        and agree(upper, lower, rules, high)
        and regime_of(upper, rules, reached=True) == high
    )
    return high if certain else Regime.MEASURE, _moves(lower)


def enough_for(upper: Trajectory, rules: Rules) -> Callable[[Sizes], bool] | None:
    """When a lower bound has gone far enough for `decide` and for the layers whose features move.

    Args:
        upper: The upper bound.
        rules: The setting.

    Returns:
        What is true of the lower bound's sizes at the first step at which no later one matters. None: the
        lower bound does not matter.
    """
    high = regime_of(upper, rules)
    if high == Regime.TRIVIAL or is_open(upper, high) or regime_of(upper, rules, reached=True) != high:
        return None
    output = len(upper.steps[0].h) - 1
    match high:
        case Regime.KERNEL | Regime.OPERATOR:
            # Nothing grows and no feature moves in the upper bound: the output decides.
            return lambda sizes: at_least(sizes.learned(output), _ZERO)
        case Regime.FEATURE_LEARNING:
            return lambda sizes: not _same(upper.at(sizes.step), sizes)
        case Regime.CONTROLLED_DIVERGENCE:
            initial = [nonzero(h) for h in upper.steps[0].h[:-1]]
            moved: set[int] = set()
            most = {
                i for sizes in upper.updated for i, h in enumerate(initial) if at_least(sizes.learned(i), h)
            }

            def enough(sizes: Sizes) -> bool:
                moved.update(i for i in most - moved if at_least(sizes.learned(i), initial[i]))
                return moved == most and above(sizes.h[-1], _ZERO)

            return enough
    return is_catastrophic


def is_open(upper: Trajectory, high: Regime) -> bool:
    """Whether it is not known what comes after the last step of the upper bound, whose regime is given."""
    return upper.end is End.OPEN and high != Regime.UNSTABLE


def agree(upper: Trajectory, lower: Trajectory, rules: Rules, high: Regime) -> bool:
    """Whether both bounds say the same."""
    # What vanishes in the upper bound vanishes; features that move are said of sizes that are known.
    if upper is lower:
        return True
    if rules.normalized:  # sizes do not grow with alignment: no bounds
        return _same_sizes(upper, lower) or (high == Regime.UNSTABLE and _same_growth(upper, lower))
    if high == Regime.TRIVIAL:
        return True
    if high != regime_of(lower, rules):
        return False
    if high != Regime.FEATURE_LEARNING or rules.alignment is not None:
        return True  # sizes grow with every exponent of alignment that is given
    return lower.end is not End.OPEN and _same_sizes(upper, lower)


def stays_bounded(run: Trajectory) -> bool:
    """Whether every hidden preactivation stays bounded at all steps (False: no, or not known)."""
    if run.end not in {End.REPEATS, End.APPROACHES}:
        return False
    return not any(is_catastrophic(sizes) for sizes in (run.steps[0], *run.updated))


def regime_of(run: Trajectory, rules: Rules, *, reached: bool = False) -> Regime:
    """The regime of all steps that are known.

    Args:
        run: Sizes.
        rules: The setting.
        reached: Only what holds after finitely many steps: sizes of degrees other than integers may approach
            their limit without reaching it.
    """
    updated = run.updated
    fractional = rules.activation.degree.denominator != 1
    if reached and fractional and run.end is End.APPROACHES and not is_growing(updated[-1]):
        updated = updated[:-1]
    known = (run.steps[0], *updated)
    if run.end is End.UNBOUNDED or any(is_catastrophic(sizes) for sizes in known):
        return Regime.UNSTABLE
    if any(is_growing(sizes) for sizes in known):
        return Regime.UNSTABLE if rules.loss == "mse" else Regime.CONTROLLED_DIVERGENCE
    if not any(at_least(sizes.learned(len(sizes.h) - 1), _ZERO) for sizes in updated):
        return Regime.TRIVIAL
    initial = run.steps[0].h
    if any(at_least(s.learned(i), nonzero(initial[i])) for s in updated for i in range(len(initial) - 1)):
        return Regime.FEATURE_LEARNING
    return Regime.OPERATOR if run.signs else Regime.KERNEL


def _moves(run: Trajectory) -> tuple[FeatureMove, ...]:
    """Hidden layers whose features move in the computed steps."""
    initial = run.steps[0].h
    found = []
    for i in range(len(initial) - 1):
        start = nonzero(initial[i])
        first = next((s.step for s in run.steps[1:] if at_least(s.learned(i), start)), None)
        if first is not None:
            found.append(FeatureMove(i + 1, first))
    return tuple(found)


def _same_sizes(upper: Trajectory, lower: Trajectory) -> bool:
    steps = {sizes.step for sizes in (*upper.steps, *lower.steps)}
    pairs = [(upper.at(step), lower.at(step)) for step in steps]
    return all(_same(high, low) for high, low in pairs)


def _same_growth(one: Trajectory, other: Trajectory) -> bool:
    """Whether the output grows in both, first at the same step and to the same size."""
    first, second = (next((s for s in run.steps if is_growing(s)), None) for run in (one, other))
    return (
        first is not None and second is not None and (first.step, first.h[-1]) == (second.step, second.h[-1])
    )


def _same(high: Sizes, low: Sizes) -> bool:
    return (high.h, high.change) == (low.h, low.change)

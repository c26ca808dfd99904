"""From sizes to a regime: which infinite-width behaviour a network has, and the inequality that decides.

In this order (stability, nontriviality and the dichotomy feature learning / kernel follow Yang & Hu,
arXiv:2011.14522, section 3; operator for Adam: Yang & Littwin, arXiv:2308.01814; stationary: Hajjar et al.,
arXiv:2110.15596):

    unstable          some e(h_t) > 0 or e(f_t) > 0
    trivial           e(f_t - f_0) < 0 at all t >= 1
    feature_learning  some hidden e(h_t - h_0) >= e(h_0)
    kernel, operator  every hidden layer stays below

Where alignment is in doubt there are two sets of sizes, an upper and a lower bound; then only what both say
counts, and "measure" is the honest answer otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from ipcore.theory.calculus import Sizes
from ipcore.theory.exponents import power
from ipcore.theory.maxplus import above, at_least, largest, nonzero
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.provenance import source
from ipcore.theory.rules import Rules
from ipcore.theory.trajectory import Trajectory, is_unstable

_ZERO: Final = Fraction(0)
_NAMED: Final = 6
SOFTMAX_CANCELS: Final = (
    "the loss derivatives of a softmax sum to 0 over the outputs, so the mean of the readout's initial "
    "weights cancels in the backward pass, and with it what the means below would add up"
)


class Regime(StrEnum):
    """Behaviour in the limit of infinite width."""

    UNSTABLE = "unstable"
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """A regime and why.

    Attributes:
        regime: The regime.
        moves: Hidden layers whose features move for certain, ascending.
        reason: The inequality that decides, in words.
        source: Where the rule is from.
    """

    regime: Regime
    moves: tuple[FeatureMove, ...]
    reason: str
    source: str


def verdict(p: Parameterization, upper: Trajectory, lower: Trajectory, rules: Rules) -> Verdict:
    """The regime from both bounds of the calculus (the same trajectory twice where nothing is in doubt)."""
    high, low = _regime(upper, rules), _regime(lower, rules)
    moves = _moves(lower)
    agree = high == low and (high != Regime.FEATURE_LEARNING or _same_sizes(upper, lower))
    if not agree:
        doubt = _why_mean(upper, lower) if p.mean is not None else _doubt(upper, lower, high, low)
        return Verdict(Regime.MEASURE, moves, doubt, "ours (docs/theory.md)")
    origin = source(p, rules)
    if high == Regime.UNSTABLE:
        return Verdict(high, moves, _why_unstable(lower), origin)
    if high == Regime.TRIVIAL:
        return Verdict(high, (), _why_trivial(p, upper, rules), origin)
    if high == Regime.FEATURE_LEARNING:
        return Verdict(high, moves, _why_features(lower, moves), origin)
    return Verdict(high, (), _why_kernel(upper), origin)


def _regime(run: Trajectory, rules: Rules) -> Regime:
    if any(is_unstable(sizes) for sizes in run.steps):
        return Regime.UNSTABLE
    if not any(at_least(sizes.learned(len(sizes.h) - 1), _ZERO) for sizes in run.steps[1:]):
        return Regime.TRIVIAL
    if _moves(run):
        return Regime.FEATURE_LEARNING
    return Regime.OPERATOR if rules.entrywise else Regime.KERNEL


def _moves(run: Trajectory) -> tuple[FeatureMove, ...]:
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
    return all((high.h, high.change) == (low.h, low.change) for high, low in pairs)


def _name(layer: int, sizes: Sizes) -> str:
    return "the output f" if layer == len(sizes.h) - 1 else f"h^{layer + 1}"


def _why_unstable(run: Trajectory) -> str:
    sizes = next(s for s in run.steps if is_unstable(s))
    layer = next(i for i, h in enumerate(sizes.h) if above(h, _ZERO))
    size = sizes.h[layer]
    grows = f"{_name(layer, sizes)} is of order {power(size)} at step {sizes.step}, and {size} > 0"
    if sizes.step == 0:
        return f"{grows}: the initial weights are too large"
    # The inputs of W^1 are given and of fixed dimension: nothing to be aligned with.
    aligned = " are aligned with its input (law of large numbers) and" if layer > 0 else ""
    parts = {
        f"updates of its own matrix{aligned} add that much": sizes.from_update[layer],
        "its initial matrix passes on the change of the layer below": sizes.from_below[layer],
        "updates of its bias add that much": sizes.from_bias[layer],
        "its initial matrix is re-weighted upwards": sizes.from_removal[layer],
    }
    causes = [words for words, part in parts.items() if part == size]
    return f"{grows}: {' and '.join(causes) or 'it starts that large'}"


def _why_trivial(p: Parameterization, run: Trajectory, rules: Rules) -> str:
    last = len(run.steps[0].h) - 1
    change = largest(*[sizes.learned(last) for sizes in run.steps[1:]])
    when = "at every step" if run.settled else f"in the {run.steps[-1].step} steps looked at"
    text = f"f_t - f_0 is at most of order {power(change)} {when}, and {change} < 0"
    if p.mean is not None and rules.cancels:
        return f"{text}: {SOFTMAX_CANCELS}"
    if rules.entrywise:
        epsilon = rules.epsilon_matters and any(phase.d is not None for phase in p.phases)
        also = ", or epsilon too large beside the gradients" if epsilon else ""
        return f"{text}: sign-like updates do not depend on the size of gradients; the rates are small{also}"
    smallest, layer = min((nonzero(h), i + 1) for i, h in enumerate(run.steps[0].h[:-1]))
    if smallest < 0:
        text += (
            f": activations vanish at initialization (h^{layer} starts at {power(smallest)}), so gradients "
            "are small, and these rates do not make up for it"
        )
    return text


def _why_features(run: Trajectory, moves: tuple[FeatureMove, ...]) -> str:
    first = min(moves, key=lambda move: (move.step, move.layer))
    sizes = next(s for s in run.steps if s.step == first.step)
    change, start = sizes.learned(first.layer - 1), run.steps[0].h[first.layer - 1]
    return (
        f"e(h_t - h_0) >= e(h_0) in a hidden layer: h^{first.layer} changes by order {power(change)} in "
        f"step {first.step}, from order {power(start)}; nothing grows with m and the output moves by order 1"
    )


def _why_kernel(run: Trajectory) -> str:
    initial = run.steps[0].h
    gaps = [
        (nonzero(change) - nonzero(initial[i]), i)
        for sizes in run.steps[1:]
        for i in range(len(initial) - 1)
        if (change := sizes.learned(i)) is not None
    ]
    gap, layer = max(gaps)
    return (
        f"the output moves by order 1 but every hidden layer stays near its start: at most h^{layer + 1} "
        f"changes, by {power(gap)} of its size, and {gap} < 0"
    )


def _why_mean(upper: Trajectory, lower: Trajectory) -> str:
    steps = (s.step for s in upper.steps if (s.h, s.change) != (lower.at(s.step).h, lower.at(s.step).change))
    return (
        f"{SOFTMAX_CANCELS}; from step {next(steps)} on bounds on what is left of the mean, or on alignment, "
        "do not agree"
    )


def _doubt(upper: Trajectory, lower: Trajectory, high: Regime, low: Regime) -> str:
    for bound in upper.steps:
        other = lower.at(bound.step)
        short = [
            f"{_name(i, bound)} {power(size)} instead of {power(bound.h[i])}"
            for i, size in enumerate(other.h)
            if size != bound.h[i]
        ]
        if short:
            return (
                f"after step {bound.step} missing alignment makes {', '.join(short[:_NAMED])}"
                f"{' and more' if len(short) > _NAMED else ''}: the activation is linear at 0 and what step "
                "0 and later steps share through the initial matrices vanishes, so first updates are not "
                "aligned with what comes next; beyond step 1 the calculus does not settle this"
            )
    return f"bounds on alignment leave both {high} and {low} possible"

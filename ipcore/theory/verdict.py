"""A regime with the inequality that decides, in words, and where its rule is from."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.exponents import brief, power
from ipcore.theory.maxplus import above, largest, nonzero
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.provenance import source
from ipcore.theory.regime import FeatureMove, Regime, agree, decide, is_open, regime_of
from ipcore.theory.rules import Rules
from ipcore.theory.sizes import Sizes
from ipcore.theory.trajectory import End, Trajectory, is_catastrophic, is_growing

_ZERO: Final = Fraction(0)
_NAMED: Final = 6
_CONTROLLED: Final = (
    "Haas et al., arXiv:2505.22491 (controlled divergence); conditions in exponents: ours (docs/theory.md)"
)
SOFTMAX_CANCELS: Final = (
    "the loss derivatives of a softmax sum to 0 over the outputs, so the mean of the readout's initial "
    "weights cancels in the backward pass, and with it what the means below would add up"
)


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
    regime, moves = decide(upper, lower, rules)
    if regime == Regime.MEASURE:
        return Verdict(regime, moves, _why_measure(p, upper, lower, rules), "ours (docs/theory.md)")
    origin = _CONTROLLED if regime == Regime.CONTROLLED_DIVERGENCE else source(p, rules)
    match regime:
        case Regime.UNSTABLE:
            reason = _why_unstable(lower, rules)
        case Regime.CONTROLLED_DIVERGENCE:
            reason = _why_controlled(lower)
        case Regime.TRIVIAL:
            moves, reason = (), _why_trivial(p, upper, rules)
        case Regime.FEATURE_LEARNING:
            reason = _why_features(lower, moves)
        case _:
            reason = _why_kernel(upper)
    return Verdict(regime, moves, reason, origin)


def _why_measure(p: Parameterization, upper: Trajectory, lower: Trajectory, rules: Rules) -> str:
    """Why the regime of the upper bound is not certain."""
    high, last = regime_of(upper, rules), upper.steps[-1].step
    if is_open(upper, high):
        return f"exponents still change after {last} steps, and no rule decides what comes later"
    if agree(upper, lower, rules, high):
        return (
            f"sizes approach a limit that decides, without reaching it: after {last} steps they still change"
        )
    if p.mean is not None:
        return _why_mean(upper, lower)
    if rules.normalized:
        return (
            "an update is larger than what it is added to, and the calculus does not decide how far later "
            "steps are aligned with it"
        )
    if rules.alignment is not None:
        return (
            f"the bounds on alignment that are given leave both {regime_of(lower, rules)} (lower) and {high} "
            "(upper) possible"
        )
    return _doubt(upper, lower, high, regime_of(lower, rules))


def _seen(sizes: Sizes) -> range:
    """Indices of the layers whose sizes count."""
    return range(len(sizes.h) - len(sizes.seen), len(sizes.h))


def _name(layer: int, sizes: Sizes) -> str:
    return "the output f" if layer == len(sizes.h) - 1 else f"h^{layer + 1}"


def _why_controlled(run: Trajectory) -> str:
    sizes = max(run.updated or run.steps, key=lambda s: (nonzero(s.h[-1]), -s.step))
    start = run.steps[0].h[-1]
    first = next((s.step for s in run.steps if above(s.h[-1], _ZERO)), None)
    when = f"from step {first} on" if first is not None else f"after more than {run.steps[-1].step} steps"
    size = max(nonzero(sizes.h[-1]), nonzero(start))
    return (
        f"every hidden layer stays bounded at all steps, but f grows to order {power(size)} {when}, and "
        f"{brief(size)} > 0; the derivative of the loss is bounded, so nothing feeds that back. Labels may "
        f"still be learned, but the loss of an example that is wrong is of order {power(size)}"
    )


def _why_unstable(run: Trajectory, rules: Rules) -> str:
    # Under a bounded derivative growth of the output alone is controlled.
    decides = is_growing if rules.loss == "mse" or run.end is End.UNBOUNDED else is_catastrophic
    sizes = next((s for s in run.steps if decides(s)), None)
    if sizes is None:
        limit = run.future.limit
        if limit is None:
            return f"h and f grow without bound, however late: {run.future.reason}"
        layer = next(i for i, h in enumerate(limit.h) if above(h, _ZERO))
        late = f"after more than {run.steps[-1].step} steps"
        return f"{_name(layer, limit)} grows to order {power(limit.h[layer])}, {late}"
    layer = next(i for i in _seen(sizes) if above(sizes.h[i], _ZERO))
    size = sizes.h[layer]
    grows = f"{_name(layer, sizes)} is of order {power(size)} at step {sizes.step}, and {brief(size)} > 0"
    if run.end is End.UNBOUNDED and not is_catastrophic(sizes):
        return f"{grows}; hidden layers follow: {run.future.reason}"
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
    change = largest(*[sizes.learned(last) for sizes in run.updated])
    text = f"f_t - f_0 is at most of order {power(change)} at every step, and {brief(change)} < 0"
    if p.mean is not None and rules.cancels:
        return f"{text}: {SOFTMAX_CANCELS}"
    if rules.entrywise:
        epsilon = rules.epsilon_matters and any(phase.d is not None for phase in p.phases)
        also = ", or epsilon too large beside the gradients" if epsilon else ""
        kind = "orthogonalized" if rules.orthogonalized else "sign-like"
        return f"{text}: {kind} updates do not depend on the size of gradients; the rates are small{also}"
    smallest, layer = min((nonzero(h), i + 1) for i, h in enumerate(run.steps[0].h[:-1]))
    if smallest < 0 and not rules.normalized:
        text += (
            f": activations vanish at initialization (h^{layer} starts at {power(smallest)}), so gradients "
            "are small, and these rates do not make up for it"
        )
    return text


def _why_features(run: Trajectory, moves: tuple[FeatureMove, ...]) -> str:
    if not moves:
        return f"e(h_t - h_0) >= e(h_0) in a hidden layer, after more than {run.steps[-1].step} steps"
    first = min(moves, key=lambda move: (move.step, move.layer))
    sizes = next(s for s in run.steps if s.step == first.step)
    change, start = sizes.learned(first.layer - 1), run.steps[0].h[first.layer - 1]
    bounded = "normalized preactivations and f stay bounded" if sizes.normalized else "nothing grows with m"
    return (
        f"e(h_t - h_0) >= e(h_0) in a hidden layer: h^{first.layer} changes by order {power(change)} in "
        f"step {first.step}, from order {power(start)}; {bounded} and the output moves by order 1"
    )


def _why_kernel(run: Trajectory) -> str:
    initial = run.steps[0].h
    gaps = [
        (nonzero(change) - nonzero(initial[i]), i)
        for sizes in run.updated
        for i in range(len(initial) - 1)
        if (change := sizes.learned(i)) is not None
    ]
    gap, layer = max(gaps)
    return (
        f"the output moves by order 1 but every hidden layer stays near its start: at most h^{layer + 1} "
        f"changes, by {power(gap)} of its size, and {brief(gap)} < 0"
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

"""`analyze`: the behaviour of a parameterization in the limit of infinite width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ipcore.theory.analysis import Analysis, StepSizes
from ipcore.theory.bounds import bounds
from ipcore.theory.coverage import checked, checked_setting
from ipcore.theory.given_alignment import Alignment
from ipcore.theory.maxplus import nonzero
from ipcore.theory.normalization import NONE
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.regime import Regime, stays_bounded
from ipcore.theory.rules import Rules
from ipcore.theory.sizes import Sizes
from ipcore.theory.trajectory import End, Trajectory, is_growing, layer_alignment
from ipcore.theory.verdict import verdict
from ipcore.theory.wording import advice, notes

MAX_ANSWER_DIGITS: Final = 2_000_000  # of the sizes of all steps that are shown


def analyze(
    parameterization: Parameterization,
    *,
    optimizer: str = "sgd",
    activation: str = "relu",
    loss: str = "cross_entropy",
    steps: int | None = None,
    epsilon: str | Sequence[str] | None = None,
    alignment: str | Alignment | Sequence[Alignment] | None = None,
    block_matrices: int = 0,
    normalization: str = NONE,
) -> Analysis:
    """Behaviour of a parameterization as the width grows, exactly.

    Args:
        parameterization: With its hidden layers, at most 1,000.
        optimizer: Key of `OPTIMIZERS`: "sgd", "adam", "sign", "muon", ..
        activation: Name in `ACTIVATIONS`, or "relu^p".
        loss: Key of `LOSSES`: "cross_entropy", "logistic", "mse".
        steps: Updates to show, >= 1; hidden layers times steps at most 100,000. None: until nothing
            changes. The verdict does not depend on it.
        epsilon: With Adam, "negligible" (updates are signs) or "dominating" (gradient descent with c - d),
            for all layers or one entry for each of the L+1 matrices: what holds at the widths of an
            experiment, where epsilon may be larger or smaller than the gradients for other reasons than
            exponents. None or "limit": as the exponents d say for infinite width.
        alignment: None: as the calculus derives it. "full" or "none", the assumptions of Everett et al.
            (arXiv:2407.05872); an `Alignment`, every exponent in [1/2, 1]; or two as a lower and an upper
            bound (measured ones): where the regimes of both differ it is "measure".
        block_matrices: 1 or 2: residual blocks of so many matrices between W^1 and the readout, with the
            exponents of all matrices in their order (`ipcore.theory.residual`). 0: none.
        normalization: "rms": every preactivation is divided by its root mean square over the neurons before
            it enters the activation (`ipcore.theory.normalization`). "none": it is not.

    Raises:
        TheoryError: Unknown names, numbers out of range, or settings that theory does not cover (the message
            has those that it covers); names every problem.

    >>> from ipcore.theory.presets import preset
    >>> analyze(preset("ip", 3)).regime.value, analyze(preset("mup", 3)).regime.value
    ('trivial', 'feature_learning')
    >>> analyze(preset("sp-per-layer", 3), alignment="full").regime.value
    'feature_learning'
    """
    p, setting = checked(parameterization, optimizer, activation, loss, steps)
    setting, assumed = checked_setting(
        p, setting, optimizer, epsilon, alignment, block_matrices, normalization
    )
    upper, lower = bounds(p, setting, steps, assumed[0] if assumed else None)
    aligned = layer_alignment(upper)
    decided = verdict(p, upper, lower, setting)
    initial = upper.steps[0].h
    open_ends = {End.OPEN, End.APPROACHES}
    unstable = decided.regime == Regime.UNSTABLE
    settled = decided.regime != Regime.MEASURE and (
        unstable or not (upper.end in open_ends or lower.end in open_ends)
    )
    marginal = decided.regime == Regime.TRIVIAL and upper.future.marginal and _same(upper, lower)
    shown = _steps(upper, lower, setting, steps)
    left_out = shown[-1].step + 1 if shown[-1].step < max(steps or 0, upper.steps[-1].step) else None
    return Analysis(
        parameterization=p,
        optimizer=optimizer,
        activation=activation,
        loss=loss,
        regime=decided.regime,
        settled=settled,
        hidden_bounded=stays_bounded(upper),
        marginal=marginal,
        steps=shown,
        features=decided.moves,
        vanishing=any(nonzero(h) < 0 for h in initial[:-1]),
        alignment=aligned,
        reason=decided.reason,
        source=decided.source,
        advice=advice(p, setting, decided.regime),
        notes=notes(
            p,
            setting,
            upper,
            lower,
            aligned,
            decided=decided.regime,
            marginal=marginal,
            left_out=left_out,
        ),
        epsilon=setting.epsilon,
        assumed=assumed,
        block_matrices=block_matrices,
        normalization=normalization,
    )


def _same(upper: Trajectory, lower: Trajectory) -> bool:
    return upper is lower or [s.h for s in upper.steps] == [s.h for s in lower.steps]


def _steps(upper: Trajectory, lower: Trajectory, setting: Rules, steps: int | None) -> tuple[StepSizes, ...]:
    """Sizes after every one of `steps` updates; None: after all that were computed."""
    result: list[StepSizes] = []
    certain, grown, digits = True, False, 0
    last = upper.steps[-1].step
    wanted = [s.step for s in upper.steps] if steps is None else range(steps + 1)
    for step in wanted:
        if step > last and upper.end is not End.REPEATS:
            break
        sizes, other = upper.at(step), lower.at(step)
        # After something hidden has grown the two may end at different steps.
        same = (sizes.h == other.h and sizes.change == other.change) or grown
        # The first gradient update is known through its inner products; signs and later steps are bounds.
        first = step <= 1 and not setting.entrywise and setting.alignment is None
        # Of an odd activation x has no mean: where h_1 outgrows h_0, x_1 forgets x_0, and so layers above
        # move less.
        grown = grown or (setting.activation.odd and is_growing(sizes))
        # Once something grows, bounded losses and activations make later sizes upper bounds.
        certain = certain and not grown and (same or first)
        grown = grown or is_growing(sizes)
        chosen = other if first and not same else sizes
        digits += _digits(chosen)
        if step > 1 and digits > MAX_ANSWER_DIGITS:
            break
        result.append(_public(step, chosen, certain))
    return tuple(result)


def _digits(sizes: Sizes) -> int:
    """About how many digits its exponents have as texts."""
    bits = sum(
        e.numerator.bit_length() + e.denominator.bit_length()
        for e in (*sizes.h, *sizes.change)
        if e is not None
    )
    return bits * 3 // 10 + 2 * len(sizes.h)


def _public(step: int, sizes: Sizes, exact: bool) -> StepSizes:
    return StepSizes(step, sizes.h[:-1], sizes.change[:-1], sizes.h[-1], sizes.change[-1], exact)

"""The words of an analysis besides its verdict: layers that move, advice, notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Final

from ipcore.theory.completion import complete
from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import power
from ipcore.theory.layer_names import ranges
from ipcore.theory.maxplus import above, nonzero
from ipcore.theory.normalization import NONE, RMS
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.regime import FeatureMove, Regime, stays_bounded
from ipcore.theory.rules import Rules
from ipcore.theory.trajectory import End, LayerAlignment, Trajectory, is_growing
from ipcore.theory.verdict import SOFTMAX_CANCELS

_NAMED: Final = 6


def advice(p: Parameterization, setting: Rules, regime: Regime) -> str:
    """A change that would avoid a trivial, diverging or unsettled verdict; empty for the others."""
    if regime in {Regime.FEATURE_LEARNING, Regime.KERNEL, Regime.OPERATOR}:
        return ""
    if not_completed := _not_completed(p, setting):
        return not_completed
    try:
        done = complete(
            p.a,
            p.b,
            optimizer=setting.optimizer,
            activation=setting.activation.name,
            loss=setting.loss,
            biases=p.biases,
            mean=p.mean,
            alignment=setting.alignment,
            normalization=RMS if setting.normalized else NONE,
        )
    except TheoryError as error:
        return f"change a or b: {error.text}"
    rates = f"the rates of the largest stable changes for these a and b are {_rates(done.parameterization)}"
    if done.maximal:
        return rates
    if p.mean is not None and setting.cancels:
        cure = "one output (loss logistic) keeps the mean in the backward pass; or draw centred weights"
        return cure if done.parameterization.phases == p.phases else f"{rates}; {cure}"
    # Only a missing alignment keeps rates from being maximal; `complete` gives the sizes.
    gap = (
        f"with {setting.activation.name} no rates make the first step both non-vanishing and stable; an "
        "activation with a kink at 0 (relu) or biases of order 1 (ip-bias) would"
    )
    return f"{rates}; but {gap}" if regime in {Regime.UNSTABLE, Regime.CONTROLLED_DIVERGENCE} else gap


def _not_completed(p: Parameterization, setting: Rules) -> str:
    """Advice if completion does not cover a network; "" if it does."""
    if setting.block_matrices:
        return "completion does not cover residual blocks; compare with the rates of 'mup'"
    if p.reweightings:
        return (
            "completion does not cover re-weighted initial matrices; compare with 'mup', which keeps them, "
            "or use an activation with a kink at 0 (relu)"
        )
    return ""


def _rates(p: Parameterization) -> str:
    """Rate exponents: first | hidden | last per phase, or all layers where hidden ones differ."""
    texts = []
    for i, phase in enumerate(p.phases):
        when = "" if len(p.phases) == 1 else " at step 0" if i == 0 else f" from step {phase.start}"
        epsilon = "" if phase.d is None else f" with d = {_layers(phase.d)}"
        texts.append(f"c = {_layers(phase.c)}{epsilon}{when}")
    return ", ".join(texts)


def _layers(entries: Sequence[Fraction]) -> str:
    short = len(entries) > 2 and len(set(entries[1:-1])) <= 1
    return " | ".join(map(str, (entries[0], *entries[1:2], entries[-1]) if short else entries))


def notes(
    p: Parameterization,
    setting: Rules,
    upper: Trajectory,
    lower: Trajectory,
    alignment: tuple[LayerAlignment, ...],
    *,
    decided: Regime,
    marginal: bool,
    left_out: int | None,
) -> tuple[str, ...]:
    """Notes on the validity of an analysis.

    Args:
        p: What was analysed.
        setting: Optimizer, activation, loss.
        upper: The upper bound.
        lower: The lower bound.
        alignment: Alignment of the first update.
        decided: The regime.
        marginal: As in `Analysis`.
        left_out: The first step that was asked for and is not shown; None: all are.
    """
    found = []
    gaps = [a for a in alignment if not a.aligned]
    if upper.given is not None:
        bounds = f"{lower.given} .. {upper.given}" if lower.given != upper.given else f"{upper.given}"
        found.append(f"alignment is given, not derived: {bounds}")
    elif gaps:
        where = ", ".join(_gaps(gaps))
        found.append(
            f"alignment: with {setting.activation.name} the first update is not aligned with its input in "
            f"{where}; calibrated first rates grow by the inverse, and a second step with them grows the "
            "output"
        )
    if p.mean is not None:
        found.append("weights with a mean: from layer 2 on all neurons share their leading part")
        if setting.cancels:
            found.append(
                f"cross entropy: {SOFTMAX_CANCELS}; first updates below layer {p.hidden_layers} lose "
                "m^(-1/2) (loss logistic: one output, nothing cancels). Small widths hide it"
            )
    if p.reweightings:
        found.append("re-weighting alone changes h_t - h_0; a layer counts as moving only by what it learns")
    if setting.normalized and (outgrown := _outgrown(upper)):
        found.append(
            f"preactivations of layers {ranges(outgrown)} become larger than they started by a power of the "
            "width; normalization hides it from the layers above"
        )
    if marginal:
        found.append(
            "marginal: updates of two layers are exactly as large as their matrices and keep each other "
            "there; constants decide whether they grow, and leaving this regime takes about log m steps"
        )
    if decided == Regime.UNSTABLE and stays_bounded(upper):
        found.append(
            "hidden layers stay bounded, only the output and with it the squared error grow; with cross "
            "entropy or logistic loss this is controlled divergence"
        )
    if any(is_growing(s) for s in upper.steps):
        found.append(
            "after something grows with the width sizes are upper bounds: bounded losses and activations "
            "saturate"
        )
    elif upper.end is End.APPROACHES:
        found.append(
            f"exponents still change after {upper.steps[-1].step} steps; the verdict holds for all steps"
        )
    if left_out is not None:
        found.append(
            f"sizes from step {left_out} on are not shown: exponents have grown, or the answer would be long"
        )
    return tuple(found)


def _outgrown(run: Trajectory) -> list[int]:
    """Hidden layers that become larger than they started, by a power of the width."""
    start = run.steps[0].h[:-1]
    grown = {i + 1 for s in run.updated for i, h0 in enumerate(start) if above(s.h[i], nonzero(h0))}
    return sorted(grown)


def _gaps(gaps: list[LayerAlignment]) -> Iterator[str]:
    """Consecutive matrices with the same deficit in one text."""
    for deficit, group in groupby(gaps, key=lambda gap: gap.deficit):
        layers = [gap.layer for gap in group]
        if len(layers) > _NAMED and layers[-1] - layers[0] == len(layers) - 1:
            yield f"W^{layers[0]} .. W^{layers[-1]} by {power(-deficit)} each"
        else:
            yield from (f"W^{layer} by {power(-deficit)}" for layer in layers)


def who_moves(features: tuple[FeatureMove, ...], hidden_layers: int) -> str:
    """Layers whose features move, and from which step, in words."""
    if not features:
        return "after more steps than are shown"
    steps = sorted({move.step for move in features})
    if len(features) == hidden_layers and len(steps) == 1:
        return f"every hidden layer from step {steps[0]}"
    texts = []
    for step in steps:
        layers = [move.layer for move in features if move.step == step]
        noun = "layer" if len(layers) == 1 else "layers"
        texts.append(f"{noun} {ranges(layers)} from step {step}")
    return ", ".join(texts)

"""`analyze`: what a parameterization does in the limit of infinite width, as a value that people can read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from ipcore.theory.calculus import Sizes
from ipcore.theory.completion import complete
from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import power
from ipcore.theory.maxplus import Size, nonzero, times
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.rules import Rules, rules
from ipcore.theory.trajectory import Trajectory, trajectory
from ipcore.theory.verdict import FeatureMove, Regime, verdict

MAX_ANALYSIS_LAYERS: Final = 1_000
MAX_ANALYSIS_WORK: Final = 100_000  # hidden layers times steps: a few seconds

_ONE: Final = Fraction(1)


@dataclass(frozen=True, slots=True)
class StepSizes:
    """Sizes after some updates, as exponents of m; None: exactly zero.

    Attributes:
        step: Updates done before.
        h: e(h_t^l) for l = 1..L.
        h_change: e(h_t^l - h_0^l).
        f: e(f_t).
        f_change: e(f_t - f_0).
        exact: Whether these are exponents the calculus stands for; False: upper bounds, measure instead.
    """

    step: int
    h: tuple[Size, ...]
    h_change: tuple[Size, ...]
    f: Size
    f_change: Size
    exact: bool


@dataclass(frozen=True, slots=True)
class LayerAlignment:
    """Whether the first update of matrix W^l is aligned with its input at step 1.

    Attributes:
        layer: l, 2..L+1.
        deficit: x_0^{l-1} . x_1^{l-1} is smaller than m |x_0| |x_1| by m^{-deficit}; 0: aligned. It is also
            what the calibrated first rate of W^l grows by.
    """

    layer: int
    deficit: Fraction

    @property
    def aligned(self) -> bool:
        """Whether the law of large numbers holds."""
        return self.deficit == 0


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the calculus says.

    Attributes:
        parameterization: What was analysed.
        optimizer: Its optimizer.
        activation: Its activation.
        loss: Its loss.
        regime: The behaviour in the limit.
        settled: The exponents repeat for ever after the last step, or it is unstable. False with regime
            "measure", or if the steps looked at did not suffice.
        steps: Sizes from step 0 on; a step left out is as the one before.
        features: Layers whose features move for certain, and from which step.
        vanishing: Whether some hidden activation vanishes at initialization.
        alignment: Of the matrices W^2..W^{L+1} at step 1.
        reason: The inequality that decides, in words.
        source: Where its rule is from.
        advice: What would change a trivial, unstable or unsettled verdict; empty otherwise.
        notes: What else to know about validity.
    """

    parameterization: Parameterization
    optimizer: str
    activation: str
    loss: str
    regime: Regime
    settled: bool
    steps: tuple[StepSizes, ...]
    features: tuple[FeatureMove, ...]
    vanishing: bool
    alignment: tuple[LayerAlignment, ...]
    reason: str
    source: str
    advice: str
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One sentence: the regime, who moves when, and why."""
        head = self.regime.replace("_", " ")
        if self.regime in {Regime.FEATURE_LEARNING, Regime.MEASURE} and self.features:
            head += f" ({_who_moves(self.features, self.parameterization.hidden_layers)})"
        return f"{head}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; exponents are exact texts, null: exactly zero."""
        return {
            "parameterization": self.parameterization.to_dict(),
            "hidden_layers": self.parameterization.hidden_layers,
            "optimizer": self.optimizer,
            "activation": self.activation,
            "loss": self.loss,
            "regime": self.regime.value,
            "settled": self.settled,
            "summary": self.summary,
            "reason": self.reason,
            "source": self.source,
            "advice": self.advice,
            "notes": list(self.notes),
            "vanishing": self.vanishing,
            "features": [{"layer": move.layer, "step": move.step} for move in self.features],
            "alignment": [
                {"layer": a.layer, "aligned": a.aligned, "deficit": str(a.deficit)} for a in self.alignment
            ],
            "steps": [
                {
                    "step": s.step,
                    "h": [_text(size) for size in s.h],
                    "h_change": [_text(size) for size in s.h_change],
                    "f": _text(s.f),
                    "f_change": _text(s.f_change),
                    "exact": s.exact,
                }
                for s in self.steps
            ],
        }


def analyze(
    parameterization: Parameterization,
    *,
    optimizer: str = "sgd",
    activation: str = "relu",
    loss: str = "cross_entropy",
    steps: int | None = None,
) -> Analysis:
    """What a parameterization does as the width grows, exactly.

    Args:
        parameterization: With its hidden layers, at most 1,000.
        optimizer: Key of `OPTIMIZERS`: "sgd", "momentum", "adam", "sign".
        activation: Name in `ACTIVATIONS`, or "relu^p".
        loss: Key of `LOSSES`: "cross_entropy", "logistic", "mse".
        steps: Updates to look at, >= 1; hidden layers times steps at most 100,000. None: until nothing
            changes.

    Raises:
        TheoryError: Unknown names, limits, or what the theory does not cover (with what it covers).

    >>> from ipcore.theory.presets import preset
    >>> analyze(preset("ip", 3)).regime.value, analyze(preset("mup", 3)).regime.value
    ('trivial', 'feature_learning')
    """
    p, setting = parameterization, rules(optimizer, activation, loss)
    _check_limits(p, steps)
    _check_covered(p)
    upper = trajectory(p, setting, aligned=True, steps=steps)
    doubtful = any(a.deficit for a in _alignment(upper)) or setting.activation.kind != "aligned"
    lower = trajectory(p, setting, aligned=False, steps=steps) if doubtful else upper
    decided = verdict(upper, lower, setting)
    initial = upper.steps[0].h
    settled = upper.settled and lower.settled and decided.regime != Regime.MEASURE
    return Analysis(
        parameterization=p,
        optimizer=optimizer,
        activation=activation,
        loss=loss,
        regime=decided.regime,
        settled=settled,
        steps=_steps(upper, lower, setting),
        features=decided.moves,
        vanishing=any(nonzero(h) < 0 for h in initial[:-1]),
        alignment=_alignment(upper),
        reason=decided.reason,
        source=decided.source,
        advice=_advice(p, setting, decided.regime),
        notes=_notes(p, setting, upper),
    )


def _check_limits(p: Parameterization, steps: int | None) -> None:
    if p.hidden_layers > MAX_ANALYSIS_LAYERS:
        raise TheoryError(
            f"analysis covers at most {MAX_ANALYSIS_LAYERS} hidden layers, not {p.hidden_layers}; exponents "
            "of deep networks follow a pattern in l that smaller depths show",
            "hidden_layers",
        )
    if steps is None:
        return
    if steps < 1:
        raise TheoryError(f"must be at least 1, not {steps}: a verdict compares with step 0", "steps")
    if steps * p.hidden_layers > MAX_ANALYSIS_WORK:
        allowed = MAX_ANALYSIS_WORK // p.hidden_layers
        raise TheoryError(
            f"must be at most {allowed} with {p.hidden_layers} hidden layers, not {steps}; leave it out to "
            "stop where exponents repeat",
            "steps",
        )


def _check_covered(p: Parameterization) -> None:
    if p.mean is not None and (p.mean[0] is not None or p.mean[1:] != p.b[1:]):
        raise TheoryError(
            "not covered: initial weights with this mean; covered are centred weights, and a mean as large "
            "as the standard deviation (mean_l = b_l) in every layer but the first",
            "mean",
        )


def _alignment(run: Trajectory) -> tuple[LayerAlignment, ...]:
    found = []
    for i, (product, (x0, x1)) in enumerate(zip(run.products, run.activations, strict=True)):
        aligned = times(_ONE, x0, x1)
        if product is not None and aligned is not None:
            found.append(LayerAlignment(i + 2, aligned - product))
    return tuple(found)


def _steps(upper: Trajectory, lower: Trajectory, setting: Rules) -> tuple[StepSizes, ...]:
    result, certain = [], True
    for i, sizes in enumerate(upper.steps):
        other = lower.steps[i] if i < len(lower.steps) else lower.steps[-1]
        same = sizes.h == other.h and sizes.change == other.change
        # The first gradient update is known through its inner products; signs and later steps are bounds.
        first = sizes.step <= 1 and not setting.entrywise
        certain = certain and (same or first)
        result.append(_public(other if first and not same else sizes, certain))
    return tuple(result)


def _public(sizes: Sizes, exact: bool) -> StepSizes:
    return StepSizes(sizes.step, sizes.h[:-1], sizes.change[:-1], sizes.h[-1], sizes.change[-1], exact)


def _advice(p: Parameterization, setting: Rules, regime: Regime) -> str:
    if regime in {Regime.FEATURE_LEARNING, Regime.KERNEL, Regime.OPERATOR}:
        return ""
    if p.reweightings:
        return "no completion with re-weighted initial matrices; compare with 'mup' and 'hp'"
    try:
        done = complete(
            p.a,
            p.b,
            optimizer=setting.optimizer,
            activation=setting.activation.name,
            loss=setting.loss,
            biases=p.biases,
            mean=p.mean,
        )
    except TheoryError as error:
        return f"change a or b: {error}"
    rates = f"the largest stable rates for these a and b are {_rates(done.parameterization)}"
    if done.maximal:
        return rates
    if regime == Regime.UNSTABLE:
        return f"{rates}; but {done.reason}"
    return f"other rates do not help: {done.reason}"


def _rates(p: Parameterization) -> str:
    """Rate exponents: first | hidden | last per phase, or all layers where hidden ones differ."""
    texts = []
    for i, phase in enumerate(p.phases):
        c = phase.c
        short = len(set(c[1:-1])) <= 1
        entries = (c[0], *c[1:2], c[-1]) if short and len(c) > 2 else c
        when = "" if len(p.phases) == 1 else " at step 0" if i == 0 else f" from step {phase.start}"
        texts.append(f"c = {' | '.join(map(str, entries))}{when}")
    return ", ".join(texts)


def _notes(p: Parameterization, setting: Rules, run: Trajectory) -> tuple[str, ...]:
    notes = []
    gaps = [a for a in _alignment(run) if not a.aligned]
    if gaps:
        where = ", ".join(f"W^{a.layer} by {power(-a.deficit)}" for a in gaps)
        notes.append(
            f"alignment: with {setting.activation.name} the first update is not aligned with its input in "
            f"{where}; calibrated first rates grow by the inverse, and a second step with them grows the "
            "output"
        )
    if p.mean is not None:
        notes.append("weights with a mean: from layer 2 on all neurons share their leading part")
    if p.reweightings:
        notes.append("re-weighting alone changes h_t - h_0; a layer counts as moving only by what it learns")
    if setting.loss != "mse" and any((s.h[-1] or 0) > 0 for s in run.steps):
        notes.append("the loss derivative is taken as order 1; where f grows, sizes are upper bounds")
    return tuple(notes)


def _who_moves(features: tuple[FeatureMove, ...], hidden_layers: int) -> str:
    steps = sorted({move.step for move in features})
    if len(features) == hidden_layers and len(steps) == 1:
        return f"every hidden layer from step {steps[0]}"
    texts = []
    for step in steps:
        layers = [move.layer for move in features if move.step == step]
        noun = "layer" if len(layers) == 1 else "layers"
        texts.append(f"{noun} {_ranges(layers)} from step {step}")
    return ", ".join(texts)


def _ranges(layers: list[int]) -> str:
    if len(layers) > 2 and layers == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}..{layers[-1]}"
    return ", ".join(map(str, layers))


def _text(size: Size) -> str | None:
    return None if size is None else str(size)

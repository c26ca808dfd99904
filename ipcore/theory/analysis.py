"""`analyze`: what a parameterization does in the limit of infinite width, as a value that people can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ipcore.theory.calculus import Sizes
from ipcore.theory.errors import TheoryError
from ipcore.theory.maxplus import Size, nonzero
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.report import analysis_text
from ipcore.theory.rules import Rules, rules
from ipcore.theory.trajectory import LayerAlignment, Trajectory, is_unstable, layer_alignment, trajectory
from ipcore.theory.verdict import FeatureMove, Regime, verdict
from ipcore.theory.wording import advice, notes, who_moves

MAX_ANALYSIS_LAYERS: Final = 1_000
MAX_ANALYSIS_WORK: Final = 100_000  # hidden layers times steps: a few seconds


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
        if self.regime == Regime.FEATURE_LEARNING:
            head += f" ({who_moves(self.features, self.parameterization.hidden_layers)})"
        return f"{head}: {self.reason}"

    def __str__(self) -> str:
        return analysis_text(self)

    def __rich__(self) -> str:
        """For rich, which would print a dataclass field by field."""
        return str(self)

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
        optimizer: Key of `OPTIMIZERS`: "sgd", "momentum", "adam", "adamw", "sign".
        activation: Name in `ACTIVATIONS`, or "relu^p".
        loss: Key of `LOSSES`: "cross_entropy", "logistic", "mse".
        steps: Updates to show, >= 1; hidden layers times steps at most 100,000. None: until nothing
            changes. The verdict does not depend on it.

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
    alignment = layer_alignment(upper)
    # Nothing is in doubt for aligned activations (both bounds are the same), unless a mean may cancel.
    doubtful = setting.activation.kind != "aligned" or (p.mean is not None and setting.cancels)
    lower = trajectory(p, setting, aligned=False, steps=steps) if doubtful else upper
    decided = verdict(p, upper, lower, setting)
    initial = upper.steps[0].h
    settled = upper.settled and lower.settled and decided.regime != Regime.MEASURE
    return Analysis(
        parameterization=p,
        optimizer=optimizer,
        activation=activation,
        loss=loss,
        regime=decided.regime,
        settled=settled,
        steps=_steps(upper, lower, setting, steps),
        features=decided.moves,
        vanishing=any(nonzero(h) < 0 for h in initial[:-1]),
        alignment=alignment,
        reason=decided.reason,
        source=decided.source,
        advice=advice(p, setting, decided.regime),
        notes=notes(p, setting, upper, lower, alignment),
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
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise TheoryError(f"must be an integer, not {steps!r}", "steps")
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


def _steps(upper: Trajectory, lower: Trajectory, setting: Rules, steps: int | None) -> tuple[StepSizes, ...]:
    """Sizes after every one of `steps` updates; None: after all that were looked at."""
    result, certain, grown = [], True, False
    ascending = iter(upper.steps)
    sizes = upper.steps[0]
    following: Sizes | None = next(ascending)
    for step in [s.step for s in upper.steps] if steps is None else range(steps + 1):
        # Steps left out are as the one before.
        while following is not None and following.step <= step:
            sizes, following = following, next(ascending, None)
        other = lower.at(step)
        same = sizes.h == other.h and sizes.change == other.change
        # The first gradient update is known through its inner products; signs and later steps are bounds.
        first = step <= 1 and not setting.entrywise
        # Of an odd activation x has no mean: where h_1 outgrows h_0, x_1 forgets x_0, and so layers above
        # move less.
        grown = grown or (setting.activation.odd and is_unstable(sizes))
        # Once something grows, bounded losses and activations make what follows an upper bound.
        certain = certain and not grown and (same or first)
        grown = grown or is_unstable(sizes)
        result.append(_public(step, other if first and not same else sizes, certain))
    return tuple(result)


def _public(step: int, sizes: Sizes, exact: bool) -> StepSizes:
    return StepSizes(step, sizes.h[:-1], sizes.change[:-1], sizes.h[-1], sizes.change[-1], exact)


def _text(size: Size) -> str | None:
    return None if size is None else str(size)

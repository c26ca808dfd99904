"""Which of Adam's two behaviours an experiment shows: epsilon compared with the measured gradients.

The exponents d decide in the limit, constants decide at the widths measured (`ipcore.theory.epsilon`). A
layer's epsilon is negligible if the mean gradient is at least ten times eps m^{-d} at every width and in
every update before the step that is checked, and it dominates if the gradient is at most a tenth of it. Then
the update g/(|g| + eps m^{-d}) has the slope of one side to within a tenth of the difference. In between
neither prediction holds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ipcore.analysis.coordinate_report import Prediction
from ipcore.analysis.finite_width import Measured
from ipcore.analysis.widths import width_text
from ipcore.theory import Analysis, epsilon_crossovers
from ipcore.theory.epsilon import MAX_GRADIENT_STEPS

_CLEAR: Final = 10.0
_LARGEST: Final = 700.0  # exp of it is a double
_DECIDED: Final = frozenset({"negligible", "dominating"})

Analyze = Callable[[tuple[str, ...]], Analysis]
"""An analysis from the epsilon of every layer (`ipcore.theory.analyze(..., epsilon=...)`)."""
_Means = Mapping[tuple[int, int, int], float]
"""Mean |dL/dw^l| over seeds by (step, layer, width)."""


@dataclass(frozen=True, slots=True)
class LayerEpsilon:
    """Adam's epsilon in one layer, beside the gradients that the updates before a step used.

    Attributes:
        layer: l, 1..L+1.
        least: Smallest mean |dL/dw^l| / (eps m^{-d_l}) over widths and updates; NaN where none was measured.
        most: Largest.
        crossover: The width at which both are equal, from the gradient at the largest width and theory's
            exponents; None where they never are, or where there are none.
    """

    layer: int
    least: float
    most: float
    crossover: float | None = None

    @property
    def choice(self) -> str:
        """One of "negligible", "dominating", "between", and "unknown" (without measured gradients)."""
        if math.isnan(self.least):
            return "unknown"
        if self.least >= _CLEAR:
            return "negligible"
        return "dominating" if self.most <= 1 / _CLEAR else "between"


def layer_epsilons(
    measured: Measured, analysis: Analysis, epsilon: float, step: int
) -> tuple[LayerEpsilon, ...]:
    """Epsilon against the gradients of the updates before a step.

    Args:
        measured: Mean |dL/dw^l| as "gradient", by layer and step. Of the steps before `step` those that were
            measured count; if there is none, the first after it.
        analysis: Analysis of the parameterization, with Adam; its exponents give the crossovers.
        epsilon: eps >= 0; layer l has eps m^{-d_l}.
        step: Updates done, >= 1.
    """
    p, means = analysis.parameterization, _means(measured)
    steps = sorted({s for s, _, _ in means})
    used = [s for s in steps if s < step] or steps[:1]
    layers = range(1, len(p.a) + 1)
    ratios: dict[int, list[float]] = {layer: [] for layer in layers}
    for (s, layer, width), gradient in means.items():
        d = p.phase_at(s).d
        if s in used and d is not None:
            ratios[layer].append(_ratio(gradient, epsilon, width, float(d[layer - 1])))
    crossovers: Sequence[float | None] = [None] * len(layers)
    if used and used[-1] <= MAX_GRADIENT_STEPS:
        width = max(m for s, _, m in means if s == used[-1])
        last = tuple(means.get((used[-1], layer, width)) for layer in layers)
        crossovers = epsilon_crossovers(analysis, last, width, epsilon, used[-1])
    return tuple(
        LayerEpsilon(
            layer, min(ratios[layer], default=math.nan), max(ratios[layer], default=math.nan), crossover
        )
        for layer, crossover in zip(layers, crossovers, strict=True)
    )


def predictions_at(
    measured: Measured, analyze: Analyze, epsilon: float, steps: Collection[int]
) -> tuple[dict[int, Prediction], tuple[str, ...]]:
    """Predictions at each step for the side of epsilon that the measured gradients show, and why.

    Args:
        measured: With mean |dL/dw^l| as "gradient", by layer and step.
        analyze: Analyses the parameterization with Adam.
        epsilon: eps >= 0.
        steps: At which sizes are checked; those above 0 count.

    Returns:
        Predictions by step, and sentences that say which are used and why. Nothing for a parameterization
        without exponents d: its epsilon is taken as negligible.
    """
    limit = analyze(())
    if any(phase.d is None for phase in limit.parameterization.phases):
        return {}, ()
    found: dict[int, Prediction] = {}
    alike: dict[tuple[str, ...], dict[int, tuple[LayerEpsilon, ...]]] = {}
    for step in sorted({step for step in steps if step > 0}):
        choices = tuple(layer.choice for layer in layer_epsilons(measured, limit, epsilon, step))
        # Between both, or unknown: the update lies between a sign and gradient descent.
        signs, gradients = (
            analyze(tuple(choice if choice in _DECIDED else side for choice in choices))
            for side in ("negligible", "dominating")
        )
        layers = layer_epsilons(measured, signs, epsilon, step)
        decided = signs.epsilon == gradients.epsilon
        found[step] = Prediction(signs) if decided else Prediction(signs, gradients, _sentence([layers]))
        alike.setdefault(choices, {})[step] = layers
    return found, tuple(f"{_sentence([*by_step.values()])} ({_after(by_step)})" for by_step in alike.values())


def _means(measured: Measured) -> _Means:
    found = {}
    for (quantity, layer, step), samples in measured.items():
        if quantity != "gradient":
            continue
        for width, row in zip(samples.widths, samples.values, strict=True):
            if (there := row[np.isfinite(row)]).size:
                found[step, layer, width] = float(there.mean())
    return found


def _ratio(gradient: float, epsilon: float, width: int, d: float) -> float:
    if epsilon == 0:
        return math.inf
    if gradient == 0:
        return 0.0
    logarithm = math.log(gradient) - math.log(epsilon) + d * math.log(width)
    return math.exp(min(logarithm, _LARGEST))


def _sentence(steps: Sequence[tuple[LayerEpsilon, ...]]) -> str:
    """What holds in which layers, and why; the same in all steps that are given."""
    together: dict[str, list[LayerEpsilon]] = {}
    for layer in itertools.chain(*steps):
        together.setdefault(layer.choice, []).append(layer)
    return f"Adam's epsilon {'; it '.join(_holds(choice, group) for choice, group in together.items())}"


def _holds(choice: str, group: Sequence[LayerEpsilon]) -> str:
    names = sorted({layer.layer for layer in group})
    where = f"layer{'' if len(names) == 1 else 's'} {', '.join(map(str, names))}"
    if choice == "unknown":
        return (
            f"cannot be compared with the gradients of {where}, of which none were recorded: add gradients "
            "to record.probes.quantities"
        )
    least, most = min(layer.least for layer in group), max(layer.most for layer in group)
    text = {
        "negligible": f"is negligible in {where}: mean |g| is at least {least:.2g} times epsilon",
        "dominating": f"dominates in {where}: mean |g| is at most {most:.2g} times epsilon",
        "between": f"is as large as gradients in {where}: mean |g| is {least:.2g} .. {most:.2g} of epsilon",
    }[choice]
    widths = [layer.crossover for layer in group if layer.crossover is not None and layer.crossover >= 1]
    return f"{text}, equal at m ~ {width_text(min(widths))}" if widths else text


def _after(steps: Collection[int]) -> str:
    *_, last = steps
    return f"after {', '.join(map(str, steps))} update{'' if last == 1 else 's'}"

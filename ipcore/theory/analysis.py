"""The result of an analysis, as a value with a readable text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ipcore.theory.errors import TheoryError, shown
from ipcore.theory.given_alignment import Alignment
from ipcore.theory.maxplus import Size
from ipcore.theory.normalization import NONE
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.regime import FeatureMove, Regime
from ipcore.theory.report import analysis_text
from ipcore.theory.rules import Rules, rules
from ipcore.theory.trajectory import LayerAlignment
from ipcore.theory.wording import who_moves
from ipcore.theory.written import Written


@dataclass(frozen=True, slots=True)
class StepSizes:
    """Sizes after some updates, as exponents of m; None: exactly zero.

    Attributes:
        step: Updates done before.
        h: e(h_t^l) for l = 1..L.
        h_change: e(h_t^l - h_0^l).
        f: e(f_t).
        f_change: e(f_t - f_0).
        exact: Whether these are exact exponents; False: upper bounds, measure instead.
    """

    step: int
    h: tuple[Size, ...]
    h_change: tuple[Size, ...]
    f: Size
    f_change: Size
    exact: bool


@dataclass(frozen=True, slots=True)
class Analysis(Written):
    """The result of an analysis.

    Attributes:
        parameterization: What was analysed.
        optimizer: Its optimizer.
        activation: Its activation.
        loss: Its loss.
        regime: The behaviour in the limit.
        settled: The exponents stay the same after the last step, or the network is unstable. False with
            regime "measure", or where the regime is decided for all steps but sizes still change after the
            last.
        hidden_bounded: Every hidden preactivation is shown to stay bounded at all steps. With regime
            "unstable": squared errors, and only the output grows.
        marginal: Whether the regime is "trivial" while the updates of two layers are exactly as large as
            their matrices. Then constants decide whether they grow; leaving the regime takes about log m
            steps (a conjecture).
        steps: Sizes from step 0 on; a step left out is as the one before. After a hidden layer has grown only
            a few follow, and no more than `analyzing.MAX_ANSWER_DIGITS` allow (a note says so).
        features: Layers whose features move for certain, and from which step.
        vanishing: Whether some hidden preactivation vanishes at initialization, e(h_0^l) < 0.
        alignment: Alignment of the first updates of W^2..W^{L+1} with their inputs at step 1.
        reason: The inequality that decides, in words.
        source: Where its rule is from.
        advice: What would change a trivial, diverging or unsettled verdict; empty otherwise.
        notes: Remarks on validity.
        epsilon: Adam's epsilon in layers 1..L+1, keys of `EPSILONS` (see `analyze`); (): "limit" in every
            layer.
        assumed: Alignment that was given: (), one, or a lower and an upper bound. `alignment` follows from
            the last one.
        block_matrices: Matrices per residual block; 0: a perceptron without blocks.
        normalization: Normalization of preactivations, a name in `ipcore.catalogue.NORMALIZATIONS`.
    """

    parameterization: Parameterization
    optimizer: str
    activation: str
    loss: str
    regime: Regime
    settled: bool
    hidden_bounded: bool
    marginal: bool
    steps: tuple[StepSizes, ...]
    features: tuple[FeatureMove, ...]
    vanishing: bool
    alignment: tuple[LayerAlignment, ...]
    reason: str
    source: str
    advice: str
    notes: tuple[str, ...]
    epsilon: tuple[str, ...] = ()
    assumed: tuple[Alignment, ...] = ()
    block_matrices: int = 0
    normalization: str = NONE

    @property
    def setting(self) -> Rules:
        """The setting of the analysis; of two bounds on alignment the upper one."""
        return replace(
            rules(self.optimizer, self.activation, self.loss),
            epsilon=self.epsilon,
            alignment=self.assumed[-1] if self.assumed else None,
            block_matrices=self.block_matrices,
            normalized=self.normalization != NONE,
        )

    @property
    def summary(self) -> str:
        """One sentence: the regime, which layers move and when, and why."""
        head = self.regime.replace("_", " ")
        if self.regime == Regime.FEATURE_LEARNING:
            head += f" ({who_moves(self.features, self.parameterization.hidden_layers)})"
        return f"{head}: {self.reason}"

    def __str__(self) -> str:
        return analysis_text(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; exponents are exact texts, null: exactly zero."""
        return {
            "parameterization": self.parameterization.to_dict(),
            "hidden_layers": self.parameterization.hidden_layers,
            "optimizer": self.optimizer,
            "activation": self.activation,
            "loss": self.loss,
            "epsilon": list(self.epsilon),
            "assumed": [bound.to_dict() for bound in self.assumed],
            "block_matrices": self.block_matrices,
            "normalization": self.normalization,
            "regime": self.regime.value,
            "settled": self.settled,
            "hidden_bounded": self.hidden_bounded,
            "marginal": self.marginal,
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


def check_analysis(value: object) -> Analysis:
    """Refuse values that are not an `Analysis`.

    Raises:
        TheoryError: `field` is "analysis".
    """
    if not isinstance(value, Analysis):
        raise TheoryError(f"must be an Analysis (see `analyze`), not {shown(value)}", "analysis")
    return value


def _text(size: Size) -> str | None:
    return None if size is None else str(size)

"""A report as plain values: checks, conclusions, and notes on what could not be checked.

`ipcore.analysis.reporting` makes one. Fields are named as in `iplab/v1/report.proto`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

from ipcore.analysis.slopes import Slope
from ipcore.analysis.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Subject:
    """The settings that runs of one check share: all but width and seed.

    Attributes:
        parameterization: Label of what was trained.
        reference: Label that theory is applied to: the same one, or that of the intended parameterization.
        hidden_layers: L.
        activation: Name.
        base_learning_rate: 0 where several rates are judged together.
        layers: Weight matrices; the last layer is the output f.

    >>> str(Subject("mine", "mup", 2, "relu", 0.1, 3))
    'mine, L=2, relu, base rate 0.1'
    """

    parameterization: str
    reference: str
    hidden_layers: int
    activation: str
    base_learning_rate: float
    layers: int

    def __str__(self) -> str:
        rate = f", base rate {self.base_learning_rate:g}" if self.base_learning_rate else ""
        return f"{self.parameterization}, L={self.hidden_layers}, {self.activation}{rate}"


@dataclass(frozen=True, slots=True)
class WidthValue:
    """A number at one width m, with its 95 % interval over seeds if that is known.

    Attributes:
        width: m.
        value: The number.
        low: Lower end of its interval.
        high: Upper end.
        variance: For a relative distance D to the limit: the part of D^2 that is variance over seeds; may be
            below 0, as an unbiased estimate of a small number is.
        bias: The other part, squared bias.
    """

    width: int
    value: float
    low: float | None = None
    high: float | None = None
    variance: float | None = None
    bias: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison of a measured slope with theory.

    Attributes:
        kind: A value of the proto's CheckKind without its prefix: "COORDINATE".
        subject: Settings that the runs share.
        slope: Slope of log value against log width; None where none could be measured.
        low: Lower end of its 95 % interval over seeds; None with one seed.
        high: Upper end.
        verdict: Verdict at the measured widths.
        sentence: The finding in one sentence.
        points: The points that the slope was fitted to, by width.
        seeds: How many were used.
        quantity: The metric of a layer that was measured ("h"); "" for other kinds.
        layer: l, from 1; 0 where no layer is meant.
        step: Updates done.
        predicted: Exponent; None where theory predicts none.
        predicted_high: Upper end where theory predicts an interval, `predicted` being the lower.
        upper_bound: Whether the prediction is an upper bound only.
        tolerance: Distance from the prediction that still agrees.
        drift: Change of the local slope from the smallest to the largest width; None if no line was fitted.
        expected: Slope that the measured parts of a change give at these widths; None where not known.
    """

    kind: str
    subject: Subject
    slope: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    sentence: str
    points: tuple[WidthValue, ...]
    seeds: int
    quantity: str = ""
    layer: int = 0
    step: int = 0
    predicted: Fraction | None = None
    predicted_high: Fraction | None = None
    upper_bound: bool = False
    tolerance: float = 0.0
    drift: float | None = None
    expected: float | None = None

    @property
    def sizes(self) -> tuple[tuple[int, float, float | None, float | None], ...]:
        """The points as figures take them: width, value, lower and upper end."""
        return tuple((point.width, point.value, point.low, point.high) for point in self.points)

    @classmethod
    def of(
        cls, kind: str, subject: Subject, fit: Slope, verdict: Verdict, sentence: str, **more: Any
    ) -> Self:
        """The check of a fitted slope.

        Args:
            kind: See `Check`.
            subject: Settings that the runs share.
            fit: The measured slope.
            verdict: Verdict at the measured widths.
            sentence: The finding in one sentence.
            **more: Other attributes.
        """
        return cls(
            kind=kind,
            subject=subject,
            slope=fit.slope.value,
            low=finite(fit.slope.low),
            high=finite(fit.slope.high),
            verdict=verdict,
            sentence=sentence,
            points=tuple(
                WidthValue(m, mean.value, mean.low, mean.high)
                for m, mean in zip(fit.widths, fit.sizes, strict=True)
            ),
            seeds=fit.seeds,
            drift=fit.drift.value,
            **more,
        )


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The conclusion from the checks of one subject, in one sentence."""

    subject: Subject
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of an experiment, with conclusions and notes.

    Attributes:
        checks: By subject.
        conclusions: At most one per subject and kind of check.
        notes: What could not be checked and why, and what to change.
        alignments: If alignment was asked for, one per subject: where the network leaves the calculus.
        measurements: What was measured and cannot be compared: distances to the limit at too few widths.
    """

    checks: tuple[Check, ...] = ()
    conclusions: tuple[Conclusion, ...] = ()
    notes: tuple[str, ...] = ()
    alignments: tuple[Conclusion, ...] = ()
    measurements: tuple[str, ...] = ()


def finite(value: float) -> float | None:
    """An end of an interval; None where there is none."""
    return value if math.isfinite(value) else None

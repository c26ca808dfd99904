"""Converts values of `ipcore.theory` to messages of iplab.v1."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from ipcore import theory
from iplab.v1 import theory_pb2 as pb
from ipserver.request.predict import Prediction


def regime(value: theory.Regime | None) -> pb.Regime.ValueType:
    """A verdict; None: not covered."""
    return pb.Regime.Value(f"REGIME_{value.name}") if value else pb.Regime.REGIME_UNSPECIFIED


def prediction(value: Prediction) -> pb.Prediction:
    """The verdict on one parameterization of a grid."""
    return pb.Prediction(
        parameterization=value.parameterization,
        hidden_layers=value.hidden_layers,
        activation=value.activation,
        regime=regime(value.regime),
        summary=value.summary,
        advice=value.advice,
    )


def analysis(value: theory.Analysis, rate: theory.LargestRate | str) -> pb.Analysis:
    """The analysis of a parameterization, and its largest base rate or why there is none."""
    said = None if isinstance(rate, str) else _largest_rate(rate)
    return pb.Analysis(
        hidden_layers=value.parameterization.hidden_layers,
        optimizer=value.optimizer,
        activation=value.activation,
        loss=value.loss,
        regime=regime(value.regime),
        settled=value.settled,
        hidden_bounded=value.hidden_bounded,
        marginal=value.marginal,
        vanishing_at_initialization=value.vanishing,
        summary=value.summary,
        reason=value.reason,
        source=value.source,
        advice=value.advice,
        notes=[*value.notes, *([rate] if isinstance(rate, str) else [])],
        largest_rate=said,
        features=[pb.FeatureMove(layer=move.layer, step=move.step) for move in value.features],
        steps=[
            pb.StepSizes(
                step=sizes.step,
                h=[_size(size) for size in sizes.h],
                h_change=[_size(size) for size in sizes.h_change],
                f=_size(sizes.f),
                f_change=_size(sizes.f_change),
                exact=sizes.exact,
            )
            for sizes in value.steps
        ],
        alignment=[
            pb.LayerAlignment(layer=layer.layer, aligned=layer.aligned, deficit=str(layer.deficit))
            for layer in value.alignment
        ],
    )


def _largest_rate(value: theory.LargestRate) -> pb.LargestRate:
    return pb.LargestRate(
        stable="" if value.stable is None else str(value.stable),
        controlled="" if value.controlled is None else str(value.controlled),
        exact=value.exact,
        summary=value.summary,
        only_output=value.only_output,
    )


def completion(value: theory.Completion) -> pb.Completion:
    """Learning rates that complete multipliers and initial weights."""
    found = value.parameterization
    return pb.Completion(
        a=_exponents(found.a),
        b=_exponents(found.b),
        phases=_phases(found),
        r="" if value.r is None else str(value.r),
        maximal=value.maximal,
        reason=value.reason,
        kind=value.kind,
        changes=_exponents(value.changes),
        unique=value.unique,
        stable=None if value.stable is None else _stable_rates(value.stable),
    )


def _stable_rates(value: theory.StableRates) -> pb.StableRates:
    return pb.StableRates(
        largest=_exponents(value.largest),
        start=_exponents(value.start),
        passed_on=_exponents(value.passed_on),
        unit=_exponents(value.unit),
        unit_bias=_exponents(value.unit_bias),
        points=[
            pb.ParetoPoint(changes=_exponents(point.changes), phases=_phases(point.parameterization))
            for point in value.points
        ],
        all_points=value.all_points,
    )


def _phases(value: theory.Parameterization) -> list[pb.RatePhase]:
    return [
        pb.RatePhase(start=phase.start, c=_exponents(phase.c), d=_exponents(phase.d or ()))
        for phase in value.phases
    ]


def _exponents(values: Iterable[Fraction]) -> list[str]:
    return [str(value) for value in values]


def _size(size: object) -> str:
    """An exponent as exact text; "" stands for exactly zero."""
    return "" if size is None else str(size)

"""Stationarity: whether mean |f_t - f_0| falls with the width."""

from __future__ import annotations

from fractions import Fraction

from ipcore import theory
from ipcore.analysis.coordinate_check import sizes_at
from ipcore.studies import predictions
from ipcore.studies.design import Design
from ipcore.studies.kinds.common import trainee_of
from ipcore.studies.ladder import Ladder, Rung
from ipcore.studies.line import Ledger, Line
from ipcore.studies.measures.judged import Measure
from ipcore.studies.measures.slopes import Trend
from ipcore.studies.predictions import Band
from ipcore.studies.question import FALL, Stationarity
from ipcore.studies.reading import logs
from ipcore.studies.results import Metric
from ipcore.studies.subjects import Subject


def stationarity(question: Stationarity) -> tuple[Line, ...]:
    """One ladder per subject."""
    return tuple(
        Ladder(
            str(subject),
            Design((trainee_of(subject, question.step),), (subject.rate,), question.first_widths),
            (_rung(question, subject),),
            question.max_width,
        )
        for subject in question.subjects
    )


def predicted_fall(analysis: theory.Analysis | str, step: int) -> Band:
    """Whether f_t - f_0 falls, as a band: at most its exponent, or at least 0; or silent.

    An upper bound that falls is enough; after something has grown there are only upper bounds, but nothing
    that makes it fall.
    """
    if isinstance(analysis, str):
        return Band.silent(analysis)
    sizes = sizes_at(analysis, step)
    if sizes.f_change is None:
        return Band.silent("theory says that the output does not move at all")
    if sizes.f_change < Fraction(FALL):
        return Band(None, sizes.f_change)
    grows = analysis.regime in {theory.Regime.UNSTABLE, theory.Regime.CONTROLLED_DIVERGENCE}
    if sizes.f_change >= 0 and (sizes.exact or grows):
        return Band(Fraction(0), None)
    return Band.silent("theory leaves it open")


def falls(band: Band) -> bool | None:
    """What `predicted_fall` says."""
    return None if not band.known else band.low is None


def _rung(question: Stationarity, subject: Subject) -> Rung:
    band = predicted_fall(predictions.analyze(subject, question.setting), question.step)
    metric = Metric("h_change", subject.layers, question.step)

    def measure(ledger: Ledger) -> Measure:
        return Trend(logs(ledger, str(subject), subject.rate, metric), falls(band))

    name = f"change of f at step {question.step}"
    return Rung(name, measure, band, abs(FALL), (metric,), subject.layers, question.step)

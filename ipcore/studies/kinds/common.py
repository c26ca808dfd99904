"""What several kinds of questions share."""

from __future__ import annotations

from typing import Final

from ipcore.studies.ladder import Rung
from ipcore.studies.line import Ledger, Trainee
from ipcore.studies.measures.judged import Measure
from ipcore.studies.measures.slopes import Slope
from ipcore.studies.predictions import Band
from ipcore.studies.question import READOUT_TOLERANCE, SLOPE_TOLERANCE, Question
from ipcore.studies.reading import logs
from ipcore.studies.results import Metric
from ipcore.studies.subjects import Subject

READOUT_FACTOR: Final = READOUT_TOLERANCE / SLOPE_TOLERANCE


def trainee_of(subject: Subject, steps: int) -> Trainee:
    """A subject as it is trained."""
    exponents = subject.exponents if subject.trained is None else subject.trained
    return Trainee(str(subject), exponents, subject.activation, subject.calibrated, steps)


def size(subject: Subject, layer: int) -> str:
    """How the size of a layer is called.

    >>> from ipcore import theory
    >>> [size(Subject("mup", theory.preset("mup", 1), "relu", 1.0), layer) for layer in (1, 2)]
    ['h^1', 'f']
    """
    return "f" if layer == subject.layers else f"h^{layer}"


def tolerance_of(question: Question, subject: Subject, layer: int) -> float:
    """Tau of a slope: twice as much at the output."""
    tolerance = SLOPE_TOLERANCE if question.tolerance is None else question.tolerance
    return tolerance * READOUT_FACTOR if layer == subject.layers else tolerance


def slope_rung(
    subject: Subject, name: str, metric: Metric, band: Band, tolerance: float, *, hidden: bool = False
) -> Rung:
    """The exponent of one recorded size."""

    def measure(ledger: Ledger) -> Measure:
        return Slope(logs(ledger, str(subject), subject.rate, metric), band, tolerance, hidden)

    return Rung(name, measure, band, tolerance, (metric,), metric.layer, metric.step)

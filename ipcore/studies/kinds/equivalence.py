"""Equivalence: whether two parameterizations have the same limit. Distance of f_t at the same seed."""

from __future__ import annotations

from collections.abc import Iterator

from ipcore.studies.design import Design
from ipcore.studies.kinds.common import trainee_of
from ipcore.studies.ladder import Ladder, Rung
from ipcore.studies.line import Ledger, Line
from ipcore.studies.measures.judged import Measure, Values
from ipcore.studies.measures.means import Mean
from ipcore.studies.measures.slopes import Trend
from ipcore.studies.predictions import Band
from ipcore.studies.question import FALL, Equivalence
from ipcore.studies.reading import distances, log_of, vectors
from ipcore.studies.results import OUTPUTS, Metric
from ipcore.studies.subjects import Subject

_SILENT = "theory compares exponents, not limits"


def equivalence(question: Equivalence) -> tuple[Line, ...]:
    """One ladder per pair: the first subject of an activation and depth with each other one."""
    return tuple(
        Ladder(
            f"{left.label} and {right}",
            Design(
                (trainee_of(left, max(question.step, 1)), trainee_of(right, max(question.step, 1))),
                (left.rate, right.rate),
                question.first_widths,
            ),
            tuple(_rungs(question, left, right)),
            question.max_width,
        )
        for left, right in pairs(question.subjects)
    )


def pairs(subjects: tuple[Subject, ...]) -> tuple[tuple[Subject, Subject], ...]:
    """The first subject of each activation and depth with each other one."""
    groups: dict[tuple[str, int], list[Subject]] = {}
    for subject in subjects:
        groups.setdefault((subject.activation, subject.hidden_layers), []).append(subject)
    return tuple((first, other) for first, *others in groups.values() for other in others)


def _rungs(question: Equivalence, left: Subject, right: Subject) -> Iterator[Rung]:
    metric = Metric(OUTPUTS, 0, question.step)
    band = Band.silent(_SILENT)

    def apart(ledger: Ledger) -> Values:
        one, other = (vectors(ledger, str(subject), subject.rate, metric) for subject in (left, right))
        return distances(one, other)

    def trend(ledger: Ledger) -> Measure:
        return Trend(log_of(apart(ledger)), None)

    yield Rung(f"distance at step {question.step}", trend, band, abs(FALL), (metric,), 0, question.step)
    if question.within is not None:
        width, within = question.first_widths[-1], question.within

        def mean(ledger: Ledger) -> Measure:
            return Mean(apart(ledger), width, within, within)

        name = f"distance at step {question.step} and width {width}"
        yield Rung(name, mean, band, within, (metric,), 0, question.step, width)

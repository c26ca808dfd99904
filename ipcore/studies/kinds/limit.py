"""Limit: whether f_t converges like m^(-1/2), and its distance from the limit."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from ipcore.studies.design import Design
from ipcore.studies.kinds.common import trainee_of
from ipcore.studies.ladder import Ladder, Rung
from ipcore.studies.line import Ledger, Line
from ipcore.studies.measures.judged import Measure
from ipcore.studies.measures.means import Remainder
from ipcore.studies.measures.slopes import Slope
from ipcore.studies.predictions import Band
from ipcore.studies.question import SLOPE_TOLERANCE, Limit
from ipcore.studies.reading import distances_from, log_of, pair_distances, twice, vectors
from ipcore.studies.results import OUTPUTS, Metric
from ipcore.studies.subjects import Subject

_RATE: Final = Fraction(-1, 2)


def limit(question: Limit) -> tuple[Line, ...]:
    """One ladder per subject. Without the limit a seed of a look is a pair of runs."""
    return tuple(
        Ladder(
            str(subject),
            Design(
                (trainee_of(subject, max(question.step, 1)),),
                (subject.rate,),
                question.first_widths,
                multiple=1 if centre else 2,
            ),
            tuple(_rungs(question, subject, centre)),
            question.max_width,
        )
        for subject, centre in zip(
            question.subjects, question.limit or ((),) * len(question.subjects), strict=True
        )
    )


def _rungs(question: Limit, subject: Subject, centre: tuple[float, ...]) -> Iterator[Rung]:
    metric = Metric(OUTPUTS, 0, question.step)
    tolerance = SLOPE_TOLERANCE if question.tolerance is None else question.tolerance
    band = Band.point(_RATE)

    def distance(ledger: Ledger) -> Measure:
        values = vectors(ledger, str(subject), subject.rate, metric)
        apart = distances_from(values, centre) if centre else pair_distances(values)
        return Slope(log_of(apart), band, tolerance)

    what = "distance from the limit" if centre else "distance of two seeds"
    yield Rung(f"{what} at step {question.step}", distance, band, tolerance, (metric,), 0, question.step)
    if question.within is not None:
        width, within = question.first_widths[-1], question.within

        def remainder(ledger: Ledger) -> Measure:
            values = vectors(ledger, str(subject), subject.rate, metric)
            return Remainder(values if centre else twice(values), width, within)

        name = f"remainder at step {question.step} and width {width}"
        silent = Band.silent("asked to be below a bound")
        yield Rung(name, remainder, silent, within, (metric,), 0, question.step, width // 2)

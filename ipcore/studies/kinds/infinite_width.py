"""Infinite width: distance of networks from their limit, and the width at which it is small enough."""

from __future__ import annotations

from ipcore.catalogue.widths import TIMES_WIDER
from ipcore.studies.design import Design
from ipcore.studies.kinds.common import trainee_of
from ipcore.studies.ladder import Ladder, Rung
from ipcore.studies.line import Ledger, Line
from ipcore.studies.measures.beside_limit import PairedOutputs, TestOutputs
from ipcore.studies.measures.needed_width import Distance, NeededWidth
from ipcore.studies.predictions import Band
from ipcore.studies.question import DISTANCE_TOLERANCE, InfiniteWidth
from ipcore.studies.reading import numbers, vectors
from ipcore.studies.results import FINAL_LIMIT_ERROR, PAIRED, SKETCH, Metric
from ipcore.studies.subjects import Subject

_SILENT = "theory predicts how distances fall, not how large they are"


def infinite_width(question: InfiniteWidth) -> tuple[Line, ...]:
    """One ladder per subject, with the limit of every seed, or a network in its place.

    A limit that starts from the network's own f_0 needs no run: the network's has recorded it.
    Every width has the same seeds: each costs a limit, which is dearer than most networks.
    """
    return tuple(
        Ladder(
            str(subject),
            Design(
                (trainee_of(subject, question.setting.steps),),
                (subject.rate,),
                question.first_widths,
                shares=(),
                beside_limit=str(subject) not in question.paired,
                times_wider=_times_wider(question, subject),
            ),
            _rungs(question, subject),
            question.max_width,
        )
        for subject in question.subjects
    )


def _times_wider(question: InfiniteWidth, subject: Subject) -> int:
    return TIMES_WIDER if str(subject) in question.without_limit else 0


def _rungs(question: InfiniteWidth, subject: Subject) -> tuple[Rung, ...]:
    eps = DISTANCE_TOLERANCE if question.tolerance is None else question.tolerance
    width, silent = question.first_widths[-1], Band.silent(_SILENT)

    sketch = Metric(SKETCH, step=question.setting.steps)
    times_wider = _times_wider(question, subject)
    metrics = (sketch,) if times_wider else (sketch, FINAL_LIMIT_ERROR)
    if paired := str(subject) in question.paired:
        metrics = (Metric(PAIRED, step=question.setting.steps),)

    def outputs(ledger: Ledger) -> TestOutputs | PairedOutputs:
        of = ledger, str(subject), subject.rate
        if paired:
            return PairedOutputs(vectors(*of, *metrics))
        return TestOutputs(vectors(*of, sketch), numbers(*of, FINAL_LIMIT_ERROR), times_wider)

    return (
        Rung(
            f"distance at width {width}",
            lambda ledger: Distance(outputs(ledger), width, eps),
            silent,
            eps,
            metrics,
        ),
        Rung(
            f"width m* at distance {eps:g}",
            lambda ledger: NeededWidth(outputs(ledger), width, eps),
            silent,
            eps,
            metrics,
        ),
    )

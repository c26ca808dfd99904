"""Activation gap: final accuracy of activations at the largest width, and alignment per layer."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Final

from ipcore.studies import predictions
from ipcore.studies.design import Design
from ipcore.studies.kinds.common import trainee_of
from ipcore.studies.ladder import Ladder, Rung
from ipcore.studies.line import Ledger, Line
from ipcore.studies.measures.judged import Measure
from ipcore.studies.measures.means import Mean
from ipcore.studies.measures.slopes import Slope
from ipcore.studies.predictions import Band
from ipcore.studies.question import READOUT_TOLERANCE, SLOPE_TOLERANCE, ActivationGap
from ipcore.studies.reading import differences, numbers, times_log_width
from ipcore.studies.results import FINAL_ACCURACY, Metric
from ipcore.studies.subjects import Subject

ACCURACY_TOLERANCE: Final = 0.02
_ALIGNMENT: Final = "alignment_update"
_SILENT: Final = "theory makes no prediction of accuracies"


def activation_gap(question: ActivationGap) -> tuple[Line, ...]:
    """One ladder per parameterization and depth."""
    return tuple(
        Ladder(
            f"{group[0].label} ({', '.join(s.activation for s in group)}, L={group[0].hidden_layers})",
            Design(
                tuple(trainee_of(subject, question.setting.steps) for subject in group),
                tuple(subject.rate for subject in group),
                question.first_widths,
            ),
            tuple(_rungs(question, group)),
            question.max_width,
        )
        for group in groups(question.subjects)
    )


def groups(subjects: tuple[Subject, ...]) -> tuple[tuple[Subject, ...], ...]:
    """Subjects that differ in the activation alone, where there are two or more."""
    found: dict[tuple[str, int], list[Subject]] = {}
    for subject in subjects:
        found.setdefault((subject.label, subject.hidden_layers), []).append(subject)
    return tuple(tuple(group) for group in found.values() if len(group) > 1)


def _rungs(question: ActivationGap, group: tuple[Subject, ...]) -> Iterator[Rung]:
    first = group[0]
    for other in group[1:]:
        yield _accuracy(question, first, other)
    if question.alignment_step:
        for subject in group:
            yield from _alignment(question, subject)


def _accuracy(question: ActivationGap, first: Subject, other: Subject) -> Rung:
    tolerance = ACCURACY_TOLERANCE if question.tolerance is None else question.tolerance
    width = question.first_widths[-1]

    def measure(ledger: Ledger) -> Measure:
        left, right = (numbers(ledger, str(s), s.rate, FINAL_ACCURACY) for s in (other, first))
        return Mean(differences(left, right), width, None, tolerance, "accuracy")

    name = f"accuracy of {other.activation} less that of {first.activation} at width {width}"
    return Rung(name, measure, Band.silent(_SILENT), tolerance, (FINAL_ACCURACY,), reads=width)


def _alignment(question: ActivationGap, subject: Subject) -> Iterator[Rung]:
    analysis = predictions.analyze(subject, question.setting)
    for layer in range(2, subject.layers + 1):
        metric = Metric(_ALIGNMENT, layer, question.alignment_step)
        band = predictions.alignment(analysis, layer, question.alignment_step)
        tolerance = READOUT_TOLERANCE if layer == subject.layers else SLOPE_TOLERANCE
        yield Rung(
            f"alignment of W^{layer} at step {metric.step} with {subject.activation}",
            functools.partial(_theta, subject, metric, band, tolerance),
            band,
            tolerance,
            (metric,),
            layer,
            metric.step,
        )


def _theta(subject: Subject, metric: Metric, band: Band, tolerance: float, ledger: Ledger) -> Measure:
    """The ratio is recorded as a power of m; a ratio hides no terms."""
    return Slope(times_log_width(ledger, str(subject), subject.rate, metric), band, tolerance)

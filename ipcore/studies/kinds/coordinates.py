"""Coordinate check: sizes at step 0, isolated updates, changes.

An isolated update is a single term, which no larger term hides, so it identifies the layer. Changes are sums
and come last. Once a number disagrees, later ones do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator

from ipcore import theory
from ipcore.studies import predictions
from ipcore.studies.design import Design
from ipcore.studies.kinds.common import size, slope_rung, tolerance_of, trainee_of
from ipcore.studies.ladder import Ladder, Rung
from ipcore.studies.line import Line
from ipcore.studies.question import CoordinateCheck
from ipcore.studies.results import ISOLATED, ISOLATED_BIAS, Metric
from ipcore.studies.subjects import Subject


def coordinate_check(question: CoordinateCheck) -> tuple[Line, ...]:
    """One ladder per subject."""
    return tuple(
        Ladder(
            str(subject),
            Design((trainee_of(subject, _steps(question, subject)),), (subject.rate,), question.first_widths),
            tuple(_rungs(question, subject)),
            question.max_width,
            ordered=True,
        )
        for subject in question.subjects
    )


def rate_steps(exponents: theory.Parameterization) -> tuple[int, ...]:
    """Steps at whose rates isolated updates are measured: one for each phase of rates that differ.

    >>> rate_steps(theory.preset("ip-llr", 3)), rate_steps(theory.preset("mup", 3))
    ((0, 1), (0,))
    """
    phases = list(exponents.phases)
    starts = {phases[i].start for i in range(len(phases)) if i == 0 or phases[i].c != phases[i - 1].c}
    if exponents.biases is not None:
        own = exponents.biases.phases
        starts |= {own[i].start for i in range(len(own)) if i == 0 or own[i].c != own[i - 1].c}
    return tuple(sorted(starts))


def _steps(question: CoordinateCheck, subject: Subject) -> int:
    """Updates that are needed: those up to the one whose batch and rates an isolated update uses."""
    isolated = rate_steps(subject.exponents)[-1] + 1 if question.isolated else 1
    return min(max(isolated, *question.change_steps, 1), question.setting.steps)


def _rungs(question: CoordinateCheck, subject: Subject) -> Iterator[Rung]:
    analysis = predictions.analyze(subject, question.setting)
    layers = range(1, subject.layers + 1)
    for layer in layers:
        band = predictions.initial_size(analysis, layer)
        tolerance = tolerance_of(question, subject, layer)
        yield slope_rung(subject, f"{size(subject, layer)} at step 0", Metric("h", layer, 0), band, tolerance)
    within = (step for step in rate_steps(subject.exponents) if step < question.setting.steps)
    for step in within if question.isolated else ():
        yield from _isolated(question, subject, analysis, step)
    for step in question.change_steps:
        for layer in layers:
            yield slope_rung(
                subject,
                f"change of {size(subject, layer)} at step {step}",
                Metric("h_change", layer, step),
                predictions.change(analysis, layer, step),
                tolerance_of(question, subject, layer),
                hidden=True,
            )


def _isolated(
    question: CoordinateCheck, subject: Subject, analysis: theory.Analysis | str, step: int
) -> Iterator[Rung]:
    rates = f" by the rates of step {step}" if step else ""
    for layer in range(1, subject.layers + 1):
        tolerance = tolerance_of(question, subject, layer)
        yield slope_rung(
            subject,
            f"isolated update of layer {layer}{rates}",
            Metric(ISOLATED, layer, step),
            predictions.isolated_update(analysis, layer, step),
            tolerance,
        )
        if subject.exponents.biases is not None:
            yield slope_rung(
                subject,
                f"isolated update of the biases of layer {layer}{rates}",
                Metric(ISOLATED_BIAS, layer, step),
                predictions.isolated_update(analysis, layer, step, bias=True),
                tolerance,
            )

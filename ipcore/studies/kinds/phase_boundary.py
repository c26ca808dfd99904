"""Phase boundary: at which value of one exponent a term stops counting in the change of a size."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from ipcore.analysis.coordinate_check import sizes_at
from ipcore.studies import predictions
from ipcore.studies.design import Design
from ipcore.studies.kinds.common import size, trainee_of
from ipcore.studies.ladder import Ladder, Rung
from ipcore.studies.line import Ledger, Line
from ipcore.studies.measures.boundaries import Boundary
from ipcore.studies.measures.judged import Measure
from ipcore.studies.predictions import Band
from ipcore.studies.question import SLOPE_TOLERANCE, PhaseBoundary
from ipcore.studies.reading import logs
from ipcore.studies.results import Metric
from ipcore.studies.subjects import Setting, Subject

_HALF: Final = Fraction(1, 2)
_GRID: Final = Fraction(1, 4)
_REACH: Final = 12


@dataclass(frozen=True, slots=True)
class Place:
    """The presumed place of a boundary.

    Attributes:
        by: Distance from the subject's own exponents.
        side: +1 if the size moves with larger exponents, -1 if with smaller ones.
        why: "" if theory has it there; else why it is only the given one.
    """

    by: Fraction
    side: int
    why: str = ""


def phase_boundary(question: PhaseBoundary) -> tuple[Line, ...]:
    """One ladder of three networks per subject."""
    return tuple(_ladder(question, subject, place_of(question, subject)) for subject in question.subjects)


def own_value(question: PhaseBoundary, subject: Subject) -> Fraction:
    """The subject's own exponent; of all layers together, that of the first (at the first step)."""
    exponents = subject.exponents
    row = exponents.c_at(0) if question.exponent == "c" else getattr(exponents, question.exponent)
    return Fraction(row[max(question.layer, 1) - 1])


def place_of(question: PhaseBoundary, subject: Subject) -> Place | str:
    """The boundary of theory, or the one in the question; or the reason that there is none."""
    kinks = theory_kinks(subject, question.setting, question.exponent, question.layer, _observed(question))
    asked = None if question.boundary is None else question.boundary - own_value(question, subject)
    if isinstance(kinks, str):
        return kinks if asked is None else Place(asked, -1, kinks)
    near = min(kinks, key=lambda by: abs(by - (asked or 0)), default=None)
    if near is None:
        none = f"theory has no boundary within {_REACH * _GRID} of the subject's own exponent"
        return none if asked is None else Place(asked, -1, none)
    if asked is not None and near != asked:
        where = own_value(question, subject) + near
        return Place(asked, kinks[near], f"theory has the boundary at {where}, not there")
    return Place(near, kinks[near])


def _observed(question: PhaseBoundary) -> tuple[int, int]:
    return question.observed, question.step


@functools.lru_cache(maxsize=128)
def theory_kinks(
    subject: Subject, setting: Setting, name: str, layer: int, observed: tuple[int, int]
) -> Mapping[Fraction, int] | str:
    """Shifts of an exponent at which the predicted change stops moving, and the side on which it moves."""
    sizes: list[tuple[Fraction, Fraction | None]] = []
    for i in range(-_REACH, _REACH + 1):
        by = i * _GRID
        moved = replace(subject, exponents=predictions.moved(subject.exponents, name, layer, by))
        analysis = predictions.analyze(moved, setting)
        if isinstance(analysis, str):
            return analysis
        found = sizes_at(analysis, observed[1])
        sizes.append((by, (*found.h_change, found.f_change)[observed[0] - 1]))
    kinks: dict[Fraction, int] = {}
    for (_, before), (by, here), (_, after) in zip(sizes, sizes[1:], sizes[2:], strict=False):
        if before is None or here is None or after is None:
            continue
        left, right = here - before, after - here
        if (left == 0) != (right == 0):
            kinks[by] = 1 if left == 0 else -1
    return kinks


def _ladder(question: PhaseBoundary, subject: Subject, place: Place | str) -> Ladder:
    if isinstance(place, str):  # refused by `ipcore.studies.validation`
        raise ValueError(place)
    tolerance = SLOPE_TOLERANCE if question.tolerance is None else question.tolerance
    metric = Metric("h_change", question.observed, question.step)
    base = trainee_of(subject, question.step)
    value = own_value(question, subject) + place.by
    trainees = []
    for v in (-_HALF, _HALF, Fraction(1)):
        by = place.by + place.side * v
        name = f"{subject} with {question.exponent}{question.layer or ''} = {value + place.side * v}"
        exponents = predictions.moved(base.exponents, question.exponent, question.layer, by)
        trainees.append(replace(base, name=name, exponents=exponents))
    names = [trainee.name for trainee in trainees]

    def measure(ledger: Ledger) -> Measure:
        flat, near, far = (logs(ledger, name, subject.rate, metric) for name in names)
        return Boundary(flat, near, far, tolerance, float(value), place.side)

    what = f"{question.exponent}_{question.layer}" if question.layer else question.exponent
    where = size(subject, question.observed)
    rung = Rung(
        f"boundary along {what} in the change of {where} at step {question.step}",
        measure,
        Band(value, value, place.why),
        tolerance,
        (metric,),
        question.observed,
        question.step,
    )
    return Ladder(
        str(subject),
        Design(tuple(trainees), (subject.rate,) * 3, question.first_widths),
        (rung,),
        question.max_width,
    )

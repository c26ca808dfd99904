"""Validation of questions: every wrong field, its value, what is allowed, what to do instead."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ipcore import theory
from ipcore.catalogue.widths import width_of
from ipcore.errors import QuestionError
from ipcore.studies.kinds.activation_gap import groups
from ipcore.studies.kinds.equivalence import pairs
from ipcore.studies.kinds.phase_boundary import place_of
from ipcore.studies.planner import minimum_cost
from ipcore.studies.question import (
    ActivationGap,
    CoordinateCheck,
    Equivalence,
    Limit,
    PhaseBoundary,
    Question,
    Stationarity,
)
from ipcore.studies.words import duration

MIN_WIDTHS: Final = 3
MAX_SUBJECTS: Final = 100
MAX_CELLS: Final = 5_000
_MOST_ERRORS: Final = 0.5
_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong field.

    Attributes:
        field: Path below the question ("subjects[1]", "budget.runs").
        text: The problem and a remedy; does not repeat the field.
    """

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


def check(question: Question) -> None:
    """Refuse a question that cannot be studied.

    Raises:
        QuestionError: With all problems.
    """
    if found := problems(question):
        raise QuestionError([(problem.field, problem.text) for problem in found])


def problems(question: Question) -> tuple[Problem, ...]:
    """All problems of a question.

    A question that theory does not cover is not a problem: it is measured, with the verdict "no prediction".
    """
    found = (*_numbers(question), *_widths(question), *_subjects(question), *_kind(question))
    # The checks below need a valid question.
    return found or (*_too_small(question),)


def _numbers(question: Question) -> Iterator[Problem]:
    if not 0 < question.error_rate < _MOST_ERRORS:
        text = f"must be between 0 and {_MOST_ERRORS}, not {question.error_rate!r}; 0.05 is usual"
        yield Problem("error_rate", text)
    if question.tolerance is not None and not (math.isfinite(question.tolerance) and question.tolerance > 0):
        yield Problem(
            "tolerance",
            f"must be a positive number, not {question.tolerance!r}; leave it out for the default",
        )
    if not (math.isfinite(question.cores) and question.cores > 0):
        yield Problem("cores", f"must be a positive number, not {question.cores!r}")
    budget = question.budget
    limits = {"runs": budget.runs, "core_hours": budget.core_hours, "wall_seconds": budget.wall_seconds}
    if all(value is None for value in limits.values()):
        yield Problem("budget", "is empty; give runs, core_hours or wall_seconds")
    for name, value in limits.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            yield Problem(f"budget.{name}", f"must be a positive number, not {value!r}")


def _widths(question: Question) -> Iterator[Problem]:
    widths = question.first_widths
    if any(isinstance(m, bool) or not isinstance(m, int) or m < 1 for m in widths):
        yield Problem("widths", f"must be positive integers, not {list(widths)}")
        return
    if len(widths) < MIN_WIDTHS or any(2 * a != b for a, b in itertools.pairwise(widths)):
        yield Problem(
            "widths",
            f"must be at least {MIN_WIDTHS} widths of which each is twice the last, not {list(widths)}; "
            f"leave them out for {list(type(question).default_widths)}",
        )
    elif widths[-1] > question.max_width:
        fitting = [m for m in widths if m <= question.max_width]
        advice = "lower max(widths)" if fitting else "choose smaller widths"
        yield Problem(
            "widths",
            f"width {widths[-1]} does not fit: the widest network allowed here has width "
            f"{question.max_width}; {advice}, for instance {_below(question)}",
        )


def _below(question: Question) -> list[int]:
    """As many widths as requested, below the largest allowed."""
    last = 2 ** int(math.log2(max(question.max_width, 4)))
    count = len(question.first_widths)
    return [last >> i for i in reversed(range(count)) if last >> i >= 1]


def _subjects(question: Question) -> Iterator[Problem]:
    if not question.subjects:
        yield Problem("subjects", "is empty; give at least one parameterization, activation and depth")
    if len(question.subjects) > MAX_SUBJECTS:
        count = len(question.subjects)
        yield Problem("subjects", f"has {count} entries; at most {MAX_SUBJECTS} are allowed in one study")
        return
    for i, subject in enumerate(question.subjects):
        field = f"subjects[{i}]"
        if not (math.isfinite(subject.rate) and subject.rate > 0):
            yield Problem(f"{field}.rate", f"must be a positive number, not {subject.rate!r}")
        for j, other in enumerate(question.subjects[:i]):
            if str(other) == str(subject):
                yield Problem(
                    field, f"has the same name as subjects[{j}], {subject}; leave one out or rename it"
                )
                break
            if (other.activation, other.hidden_layers, other.rate, other.calibrated) == (
                subject.activation,
                subject.hidden_layers,
                subject.rate,
                subject.calibrated,
            ) and _same(question, i, j):
                yield Problem(
                    field,
                    f"{subject} is the same network as subjects[{j}], {other}; leave one out",
                )
                break


def _same(question: Question, i: int, j: int) -> bool:
    left, right = question.subjects[i], question.subjects[j]
    if (left.trained or left.exponents) != left.exponents or (
        right.trained or right.exponents
    ) != right.exponents:
        return False
    try:
        return theory.equivalent(left.exponents, right.exponents, question.setting.optimizer)
    except theory.TheoryError:
        return left.exponents == right.exponents


def _kind(question: Question) -> Iterator[Problem]:
    steps = question.setting.steps
    match question:
        case CoordinateCheck(change_steps=changes):
            if list(changes) != sorted(set(changes)) or any(not 1 <= step <= steps for step in changes):
                text = f"must be ascending steps in 1..{steps} (setting.steps), not {list(changes)}"
                yield Problem("change_steps", text)
        case Stationarity(step=step) | PhaseBoundary(step=step) if not 1 <= step <= steps:
            yield Problem("step", f"must be in 1..{steps} (setting.steps), not {step}")
        case Equivalence(step=step) | Limit(step=step) if not 0 <= step <= steps:
            yield Problem("step", f"must be in 0..{steps} (setting.steps), not {step}")
        case ActivationGap(alignment_step=step) if not 0 <= step <= steps:
            yield Problem("alignment_step", f"must be in 0..{steps} (setting.steps), not {step}")
        case _:
            pass
    yield from _compared(question)


def _compared(question: Question) -> Iterator[Problem]:
    if isinstance(question, Equivalence | Limit) and question.within is not None and not question.within > 0:
        yield Problem("within", f"must be a positive distance, not {question.within!r}, or left out")
    match question:
        case Equivalence() if not pairs(question.subjects):
            text = "no two have the same activation and depth; give two parameterizations to compare"
            yield Problem("subjects", text)
        case ActivationGap() if not groups(question.subjects):
            text = "no parameterization has two activations; give two or more to compare"
            yield Problem("subjects", text)
        case Limit() if question.limit and len(question.limit) != len(question.subjects):
            text = (
                f"has {len(question.limit)} entries for {len(question.subjects)} subjects; give one for each"
            )
            yield Problem("limit", text)
        case PhaseBoundary():
            yield from _boundary(question)
        case _:
            pass


def _boundary(question: PhaseBoundary) -> Iterator[Problem]:
    names = ("a", "b", "c")
    if question.exponent not in names:
        yield Problem("exponent", f"must be one of {', '.join(names)}, not {question.exponent!r}")
        return
    for i, subject in enumerate(question.subjects):
        for name in ("layer", "observed"):
            least, value = (0 if name == "layer" else 1), getattr(question, name)
            if not least <= value <= subject.layers:
                text = f"must be in {least}..{subject.layers} for {subject}, not {value}"
                yield Problem(name, text)
                return
        if isinstance(place := place_of(question, subject), str):
            yield Problem("boundary", f"subjects[{i}], {subject}: {place}; give the value to compare it with")


def _too_small(question: Question) -> Iterator[Problem]:
    """A budget below what the first interval takes, which may be several rounds."""
    least, budget = minimum_cost(question), question.budget
    if budget.runs is not None and budget.runs < least.runs:
        by_width = ", ".join(f"{runs} at width {width_of(width)}" for width, runs in least.by_width)
        text = f"{budget.runs} runs decide nothing: the first interval takes {least.runs} ({by_width})"
        more = "a decision may take several times as many"
        yield Problem("budget.runs", f"{text}; give at least {least.runs}, but {more}")
    if least.core_seconds is None or least.wall_seconds is None:
        return
    if budget.core_hours is not None and budget.core_hours * _HOUR < least.core_seconds:
        text = f"{budget.core_hours:g} core-hours decide nothing: the first interval takes about"
        hours = least.core_seconds / _HOUR
        yield Problem(
            "budget.core_hours", f"{text} {duration(least.core_seconds)}; give at least {hours:.2g}"
        )
    if budget.wall_seconds is not None and budget.wall_seconds < least.wall_seconds:
        text = f"{budget.wall_seconds:g} s decide nothing: the first interval takes about"
        seconds = math.ceil(least.wall_seconds)
        yield Problem("budget.wall_seconds", f"{text} {seconds} s; give at least that")

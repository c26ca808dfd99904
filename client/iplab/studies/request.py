"""The message of a study from a question, a budget and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format

from ipcore.errors import unknown
from iplab.errors import InvalidRequestError, Violation
from iplab.given import filled, name_of
from iplab.specs.updating import set_masked
from iplab.v1 import study_pb2, study_service_pb2

if TYPE_CHECKING:
    from iplab.v1.spec_pb2 import ExperimentSpec


QUESTIONS: Final = tuple(
    field.name.replace("_", "-") for field in study_pb2.StudySpec.DESCRIPTOR.oneofs_by_name["question"].fields
)

# A budget as users write it: a number and a unit, several joined by commas.
_AMOUNT: Final = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z-]+)\s*", re.IGNORECASE)

_SECONDS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

_CORE_HOURS: Final = ("core-hour", "core-hours", "ch")

_RUNS: Final = ("run", "runs")


def budget_of(text: str) -> study_pb2.StudyBudget:
    """A budget from text: wall time, runs, core-hours, or several joined by commas.

    Raises:
        InvalidRequestError: The text is not a budget.

    >>> budget_of("10m, 400 runs").wall_seconds, budget_of("10m, 400 runs").runs
    (600.0, 400)
    """
    budget = study_pb2.StudyBudget()
    for part in str(text).split(","):  # a number alone is refused for its missing unit
        found = _AMOUNT.fullmatch(part)
        try:
            amount, unit = (float(found[1]), found[2].lower()) if found else (0.0, "")
        except ValueError:
            amount, unit = 0.0, ""
        if unit in _SECONDS:
            budget.wall_seconds = amount * _SECONDS[unit]
        elif unit in _CORE_HOURS:
            budget.core_hours = amount
        elif unit in _RUNS and amount == int(amount):
            budget.runs = int(amount)
        else:
            message = f"{part.strip()!r} is not an amount; write 10m (wall time), 400 runs, or 1.5 core-hours"
            raise InvalidRequestError([Violation("budget", message)])
    return budget


def study_message(
    question: str,
    base: ExperimentSpec,
    budget: str,
    tolerance: float | None,
    error_rate: float | None,
    settings: Mapping[str, object],
) -> study_pb2.StudySpec:
    """The spec of a study.

    Raises:
        InvalidRequestError: An unknown question, an unknown setting of it, or a wrong budget.
    """
    if question not in QUESTIONS:
        raise InvalidRequestError([Violation("question", unknown("question", question, QUESTIONS))])
    kind = study_pb2.StudySpec
    spec = filled(kind, base=base, budget=budget_of(budget), tolerance=tolerance, error_rate=error_rate)
    part = getattr(spec, question.replace("-", "_"))
    part.SetInParent()
    known = [field.name for field in part.DESCRIPTOR.fields]
    wrong = [
        Violation(name, f"is not a setting of {question}; it has: {', '.join(known) or 'none'}")
        for name in settings
        if name not in known
    ]
    if wrong:
        raise InvalidRequestError(wrong)
    try:
        json_format.ParseDict(dict(settings), part)
    except json_format.ParseError as error:
        raise InvalidRequestError([Violation(question, str(error))]) from None
    return spec


def study_name(study: str) -> str:
    """A study's name, from its id or its name.

    >>> study_name("mine"), study_name("studies/mine")
    ('studies/mine', 'studies/mine')
    """
    return name_of("study", "studies/", study)


def update(
    study: str, etag: str, labels: Mapping[str, str | None] | None, **values: str | int | None
) -> study_service_pb2.UpdateStudyRequest:
    """A change of a study's description; arguments as for `Study.update`."""
    message = study_pb2.Study(name=study, etag=etag)
    mask = set_masked(message, labels, **values)
    return study_service_pb2.UpdateStudyRequest(study=message, update_mask=mask)

"""Submission of a question: the request, and refusals in terms of the spec's file."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from iplab.errors import InvalidRequestError, Violation
from iplab.specs.specfile import SpecSource, read_spec
from iplab.studies.request import QUESTIONS, study_message
from iplab.v1 import study_pb2, study_service_pb2

_BASE = "study.spec.base"


def refuse_question(question: str, budget: str) -> None:
    """Check a call of `Client.study` without a spec, which finds a study by its id.

    Raises:
        InvalidRequestError: The call asks a question, which needs a spec.
    """
    if budget or question in QUESTIONS:
        message = "is missing: a question is about networks; give a spec's file or a dict, as to `create`"
        raise InvalidRequestError([Violation("spec", message)])


class Asking:
    """A call of CreateStudy, for any client. Arguments: `iplab.Client.study`.

    Attributes:
        request: The request.
        repeat: Whether it may be sent twice.
    """

    def __init__(
        self,
        question: str,
        spec: SpecSource,
        settings: Mapping[str, object],
        *,
        budget: str,
        tolerance: float | None,
        error_rate: float | None,
        study_id: str,
        request_id: str | None,
        validate_only: bool,
    ) -> None:
        self._loaded = read_spec(spec)
        own = self._loaded.checked()
        study = study_pb2.Study(
            display_name=own.display_name,
            labels=own.labels,
            priority=own.priority,
            notes=own.notes,
            project=own.project,
            spec=study_message(question, own.spec, budget, tolerance, error_rate, settings),
        )
        self.request = study_service_pb2.CreateStudyRequest(
            study_id=study_id,
            study=study,
            request_id=str(uuid.uuid4()) if request_id is None else request_id,
            validate_only=validate_only,
        )
        self.repeat = bool(self.request.request_id) or validate_only

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Context of the call: reports wrong fields by their paths in the spec, if all are in the spec."""
        try:
            yield
        except InvalidRequestError as error:
            if not all(violation.field.startswith(_BASE) for violation in error.violations):
                raise
            moved = [
                replace(violation, field=violation.field.replace(_BASE, "experiment.spec", 1))
                for violation in error.violations
            ]
            raise self._loaded.error(moved) from None  # the same fields, in other words

"""Calls of a client that ask and find studies."""

from __future__ import annotations

from collections.abc import Iterator

from iplab.connection.transport import Transport
from iplab.display import listed
from iplab.given import Handle
from iplab.results.listing import Listing
from iplab.specs.specfile import SpecSource
from iplab.studies.asking import Asking, refuse_question
from iplab.studies.request import study_name
from iplab.studies.study import Study
from iplab.v1 import study_service_pb2


class StudyCalls(Handle):
    """A connection by which studies can be asked and found."""

    _transport: Transport

    def study(
        self,
        question: str,
        spec: SpecSource | None = None,
        *,
        budget: str = "",
        tolerance: float | None = None,
        error_rate: float | None = None,
        study_id: str = "",
        request_id: str | None = None,
        validate_only: bool = False,
        **settings: object,
    ) -> Study:
        """Ask a question; the service answers it by experiments of its own. See docs/studies.md.

        With an id alone, as `client.study("my-study")`, it is `get_study`.

        Args:
            question: "rate-transfer", "coordinate-check", "stationarity", "calibrated-rates", ...
                (`iplab.studies.request.QUESTIONS`).
            spec: How everything is trained, as for `create`. Its grid has the subjects: parameterizations,
                depths, activations; one base rate to start with, or none; the first widths, or none; no
                seeds.
            budget: Its budget: "10m" (wall time), "400 runs", "2 core-hours", or several joined by
                commas.
            tolerance: Distance from a prediction that still agrees; None: the question's default.
            error_rate: Probability of any wrong answer in the whole study; None: 0.05.
            study_id: 1-42 lower-case letters, digits and hyphens; "": the service chooses one.
            request_id: A UUID, as for `create`.
            validate_only: Ask nothing; the answer has defaults and warnings.
            **settings: Settings of this kind of question, as `step=1`.

        Raises:
            SpecError: Wrong fields of the spec, all of them.
            InvalidRequestError: Wrong fields beside the spec; a budget below one round says the least that
                could decide.
            AlreadyExistsError: The study id is taken.
            NotFoundError: An id alone was given, and there is no such study.

        Example:
            >>> grid = {"parameterizations": [{"preset": "mup"}], "hidden_layers": [3]}
            >>> base = {"dataset": "digits", "steps": 100, "grid": grid | {"activations": ["relu"]}}
            >>> with iplab.connect() as client:                          # doctest: +SKIP
            ...     client.study("rate-transfer", {"spec": base}, budget="10m").wait().sentence
        """
        if spec is None:
            refuse_question(question, budget)
            return self.get_study(question)
        asking = Asking(
            question,
            spec,
            settings,
            budget=budget,
            tolerance=tolerance,
            error_rate=error_rate,
            study_id=study_id,
            request_id=request_id,
            validate_only=validate_only,
        )
        with asking.refusals():
            method = self._transport.studies.CreateStudy
            message = self._transport.call(method, asking.request, repeat=asking.repeat)
        return Study(self._transport, message)

    def get_study(self, study: str) -> Study:
        """One study.

        Args:
            study: Its id, or its name ("studies/{id}").

        Raises:
            NotFoundError: There is none with this id.
        """
        request = study_service_pb2.GetStudyRequest(name=study_name(study))
        return Study(self._transport, self._transport.call(self._transport.studies.GetStudy, request))

    def studies(self, limit: int | None = None, *, show_deleted: bool = False) -> Listing[Study]:
        """Studies, newest first, fetched by page while they are iterated; a notebook shows the first.

        Args:
            limit: Maximum number; None: all.
            show_deleted: Whether to include deleted ones that are not purged yet (`delete_time`).
        """

        def read(most: int | None) -> Iterator[Study]:
            request = study_service_pb2.ListStudiesRequest(show_deleted=show_deleted)
            method = self._transport.studies.ListStudies
            for message in self._transport.listing(method, request, lambda page: page.studies, most):
                yield Study(self._transport, message)

        return Listing("studies, newest first", read, listed.studies, limit)

"""A study: a question that the service answers by experiments of its own."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from iplab.connection.resuming import Resuming
from iplab.connection.transport import Transport, pause
from iplab.errors import IplabError
from iplab.results.experiment import Experiment
from iplab.results.reading import member, read
from iplab.results.states import StudyReason, StudyState, StudyVerdict
from iplab.specs.plain import to_plain
from iplab.specs.updating import set_masked
from iplab.studies.answers import Answer, Round, Spent, interval_text, prediction_text, spent_text
from iplab.v1 import experiment_service_pb2, study_pb2, study_service_pb2
from iplab.v1.fields import StudyFields

if TYPE_CHECKING:
    from ipcore.figures import Picture


class Study(StudyFields):
    """A question with its answer, as of the last time it was read (`refresh`).

    Attributes:
        id: The last part of its name.
    """

    def __init__(self, transport: Transport, message: study_pb2.Study) -> None:
        self._transport = transport
        self._take(message)

    def _take(self, message: study_pb2.Study) -> None:
        self._study = message
        self.id = message.name.rpartition("/")[2]

    def __repr__(self) -> str:
        return f"<Study {self.id or '(not created)'}: {self.question}, {self.state}, {self.verdict}>"

    @property
    def question(self) -> str:
        """What is asked: one of `QUESTIONS`."""
        return (self._study.spec.WhichOneof("question") or "").replace("_", "-")

    @property
    def spec(self) -> study_pb2.StudySpec:
        """What is asked, with defaults filled in (a copy)."""
        copy = study_pb2.StudySpec()
        copy.CopyFrom(self._study.spec)
        return copy

    @property
    def state(self) -> StudyState:
        """Where it stands."""
        return member(StudyState, self._study, "state")

    @property
    def verdict(self) -> StudyVerdict:
        """The answer, or what is known so far."""
        return member(StudyVerdict, self._study, "verdict")

    @property
    def reason(self) -> StudyReason:
        """Why it has ended."""
        return member(StudyReason, self._study, "reason")

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answer for each subject, or what is known so far."""
        return tuple(read(Answer, answer) for answer in self._study.answers)

    @property
    def rounds(self) -> tuple[Round, ...]:
        """What was trained, why, and what was learned."""
        return tuple(read(Round, one) for one in self._study.rounds)

    @property
    def spent(self) -> Spent:
        """What it has spent."""
        return read(Spent, self._study.spent)

    def to_dict(self) -> dict[str, object]:
        """All fields as plain values, as `iplab study show --json` prints them."""
        return to_plain(self._study)

    def refresh(self) -> Study:
        """Read it again. Returns itself."""
        request = study_service_pb2.GetStudyRequest(name=self.name)
        self._take(self._transport.call(self._transport.studies.GetStudy, request))
        return self

    def cancel(self) -> Study:
        """End it and cancel its experiments; harmless if it has ended. Returns itself, with the new state."""
        request = study_service_pb2.CancelStudyRequest(name=self.name)
        self._take(self._transport.call(self._transport.studies.CancelStudy, request))
        return self

    def update(
        self,
        *,
        display_name: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        notes: str | None = None,
        priority: int | None = None,
        etag: str = "",
    ) -> Study:
        """Change what describes it, and its priority, whatever its state. What is not given stays.

        Args:
            display_name: Free text on one line; "": none.
            labels: New values of these labels, None for those to be removed; its other labels stay. They
                count for the experiments that it asks for from now on.
            notes: Free text on any number of lines; "": none.
            priority: Of the experiments that it asks for from now on.
            etag: Change nothing unless this is its `etag` on the service; "": change it in any case.

        Returns:
            Itself, as it is now.

        Raises:
            InvalidRequestError: Nothing is given, or wrong values; all wrong fields.
            EtagMismatchError: Somebody changed it since it had that etag; `refresh` it, and decide again.
            QuotaExceededError: The priority is above a limit of yours.
        """
        message = study_pb2.Study(name=self.name, etag=etag)
        mask = set_masked(message, labels, display_name=display_name, notes=notes, priority=priority)
        request = study_service_pb2.UpdateStudyRequest(study=message, update_mask=mask)
        # With an etag a repetition would find the etag of its own first attempt.
        self._take(self._transport.call(self._transport.studies.UpdateStudy, request, repeat=not etag))
        return self

    def delete(self) -> Study:
        """Delete it once it has ended; its experiments stay. Returns itself, as it is now.

        Listings leave it out. Until its `purge_time` it can be read, and brought back by `undelete`. Harmless
        if it is deleted already.

        Raises:
            InvalidRequestError: It has not ended.
        """
        request = study_service_pb2.DeleteStudyRequest(name=self.name)
        self._transport.call(self._transport.studies.DeleteStudy, request)
        return self.refresh()

    def undelete(self) -> Study:
        """Bring it back; harmless if it is not deleted. Returns itself, as it is now.

        Raises:
            InvalidRequestError: It is being purged.
        """
        request = study_service_pb2.UndeleteStudyRequest(name=self.name)
        self._take(self._transport.call(self._transport.studies.UndeleteStudy, request))
        return self

    def purge(self) -> Study:
        """Remove a deleted study permanently now; its experiments stay. Needs the role admin.

        Raises:
            InvalidRequestError: It is not deleted.
        """
        request = study_service_pb2.PurgeStudyRequest(name=self.name)
        self._take(self._transport.call(self._transport.studies.PurgeStudy, request))
        return self

    def trained(self) -> Iterator[Experiment]:
        """Its experiments, in the order of their creation."""
        for name in self.experiments:
            request = experiment_service_pb2.GetExperimentRequest(name=name)
            message = self._transport.call(self._transport.experiments.GetExperiment, request)
            yield Experiment(self._transport, message)

    def watch(self, timeout: float | None = None) -> Iterator[Study]:
        """Yield the study now and after every change, until it has ended.

        A connection that breaks does not end the iteration.

        Args:
            timeout: Seconds until TimedOutError; None: no limit.

        Raises:
            UnavailableError: The service stayed away for a minute.
        """
        resuming = Resuming(self.name, timeout)
        request = study_service_pb2.WatchStudyRequest(name=self.name)
        method = self._transport.studies.WatchStudy
        while True:
            try:
                if resuming.lost:
                    self.refresh()
                    resuming.found()
                for answer in self._transport.stream(method, request, timeout=resuming.left()):
                    resuming.found()
                    self._take(answer.study)
                    yield self
                if self.state.terminal:
                    return
            except IplabError as error:
                resuming.survive(error)
            pause(resuming.delay())

    def wait(self, progress: bool = True, timeout: float | None = None) -> Study:
        """Wait until it has ended.

        Args:
            progress: Show rounds with what was learned on standard error.
            timeout: Seconds until TimedOutError; None: no limit.

        Returns:
            Itself, read again.
        """
        from iplab.display.progress import follow_study  # noqa: PLC0415 - rich only where something is drawn

        follow_study(self.watch(timeout), show=progress)
        return self

    def plot(self) -> Picture:
        """Its figure: losses against the rate for a rate transfer, else all numbers with their intervals.

        Raises:
            NothingToDraw: It has measured nothing yet.
        """
        from iplab.studies.pictures import picture_of  # noqa: PLC0415 - numpy only for pictures

        return picture_of(self)

    def _repr_html_(self) -> str:
        """In a notebook: the answer, a row per cell, and what was spent."""
        rows = "".join(
            f"<tr><td>{html.escape(answer.subject)}</td><td>{html.escape(cell.name)}</td>"
            f"<td>{interval_text(cell)}</td><td>{prediction_text(cell)}</td><td>{cell.verdict.words}</td></tr>"
            for answer in self.answers
            for cell in answer.cells
        )
        headings = ("subject", "number", "95 % interval", "theory", "verdict")
        head = "".join(f"<th>{name}</th>" for name in headings)
        sentence = html.escape(self.sentence or f"{self.question}: {self.state}")
        table = f"<table><tr>{head}</tr>{rows}</table>" if rows else ""
        return f"<p><b>{sentence}</b></p>{table}<p>{html.escape(spent_text(self.spent))}</p>"

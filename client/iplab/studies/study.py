"""A study: a question that the service answers with experiments that it plans itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from iplab.connection.resuming import Resuming
from iplab.connection.transport import Transport, pause
from iplab.errors import IplabError
from iplab.results.experiment import Experiment
from iplab.studies import request as requests
from iplab.studies.study_view import StudyView
from iplab.v1 import experiment_service_pb2, study_pb2, study_service_pb2

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from ipcore.figures import Picture


class Study(StudyView):
    """A question with its answer, as of the last read (`refresh`).

    Attributes:
        id: The last part of its name.
    """

    def __init__(self, transport: Transport, message: study_pb2.Study) -> None:
        super().__init__(message)
        self._transport = transport

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
        """Change its description and priority, in any state. Arguments that are not given change nothing.

        Args:
            display_name: Free text on one line; "": none.
            labels: New values of these labels, None for those to be removed; its other labels stay. They
                apply to its future experiments.
            notes: Free text on any number of lines; "": none.
            priority: Priority of its future experiments.
            etag: Change it only if this is its present `etag` on the service; "": change it in any case.

        Returns:
            Itself, with its new fields.

        Raises:
            InvalidRequestError: Nothing is given, or values are wrong; names all wrong fields.
            EtagMismatchError: It has changed since the etag was read; `refresh` it, and decide again.
            QuotaExceededError: The priority is above a limit of yours.
        """
        request = requests.update(
            self.name, etag, labels, display_name=display_name, notes=notes, priority=priority
        )
        # With an etag a repeated call would fail on the etag that its first attempt has changed.
        self._take(self._transport.call(self._transport.studies.UpdateStudy, request, repeat=not etag))
        return self

    def delete(self) -> Study:
        """Delete it after it has ended; its experiments stay. Returns itself, with its new fields.

        Listings leave it out. Until its `purge_time` it can be read, and restored by `undelete`. Harmless if
        it is deleted already.

        Raises:
            InvalidRequestError: It has not ended.
        """
        request = study_service_pb2.DeleteStudyRequest(name=self.name)
        self._transport.call(self._transport.studies.DeleteStudy, request)
        return self.refresh()

    def undelete(self) -> Study:
        """Restore it; harmless if it is not deleted. Returns itself, with its new fields.

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
            UnavailableError: The service could not be reached for a minute.
        """
        return self._watch(timeout)

    def _watch(self, timeout: float | None, say: Callable[[str], None] | None = None) -> Iterator[Study]:
        resuming = Resuming(self.name, timeout, say=say)
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
            progress: Show rounds with their findings, and how many runs have ended: in a notebook below the
                cell, else on standard error.
            timeout: Seconds until TimedOutError; None: no limit.

        Returns:
            Itself, with its last state.
        """
        from iplab.display.progress import follow_study  # noqa: PLC0415 - rich only where something is drawn

        follow_study(partial(self._watch, timeout), show=progress)
        return self

    def plot(self, *, ax: Axes | None = None, figure: Figure | SubFigure | None = None) -> Picture:
        """Its figure: losses over the rate for a rate transfer, else all numbers with their intervals.

        Args:
            ax: Axes of matplotlib to draw into, as with `Experiment.plot`.
            figure: A figure or subfigure to fill.

        Raises:
            NothingToDraw: It has measured nothing yet.
            PictureError: The figure does not fit into `ax` or `figure`.
        """
        from iplab.studies.pictures import picture_of  # noqa: PLC0415 - numpy only for pictures

        return picture_of(self).placed_in(ax, figure)

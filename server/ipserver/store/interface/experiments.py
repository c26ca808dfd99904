"""Methods on experiments and their runs, for the API."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ipserver.store.interface.base import Transactions
from ipserver.store.records.experiments import (
    EventRecord,
    ExperimentRecord,
    Extension,
    NewExperiment,
    Revision,
)
from ipserver.store.records.filters import ALL, Filter
from ipserver.store.records.queueing import QueuePlace
from ipserver.store.records.runs import NewRun
from ipserver.store.transactions import events, experiments, extending, queueing, retrying, updating


class Experiments(Transactions):
    """Methods on experiments and their runs, for the API."""

    def create_experiment(
        self, new: NewExperiment, runs: Sequence[NewRun], study: tuple[str, int] | None = None
    ) -> ExperimentRecord:
        """Accept an experiment with all its runs. Repeatable if it has a request id.

        Args:
            new: The experiment. If its request id was used with the same hash, the existing one is returned.
            runs: At least one, with distinct indices.
            study: Id and token of the study that submits it; None if a user does.

        Raises:
            Fenced: The study's token is not current, or the study is being cancelled.
            RequestIdReused: The request id was used with another hash.
            AlreadyExists: The id is taken.
        """
        return self._watched("create", experiments.create, new, runs, study)

    def find_request(self, request_id: str, request_hash: str) -> ExperimentRecord | None:
        """The experiment that a request created, or None.

        Raises:
            RequestIdReused: The request id was used with another hash.
        """
        return self.database.read(experiments.find_request, request_id, request_hash)

    def extend_experiment(
        self, id: str, extension: Extension, study: tuple[str, int] | None = None
    ) -> ExperimentRecord | None:
        """Add runs to an experiment. Repeatable if it has a request id.

        Args:
            id: The experiment's id.
            extension: The new runs.
            study: Id and token of the study that adds them; None if a user does.

        Returns:
            The experiment; None if nothing was added because another extension has changed its spec.

        Raises:
            RequestIdReused: The request id was used with another hash.
            InvalidRequest: The experiment was cancelled. The violation names the field "name".
            Fenced: The study's token is not current, or the study is being cancelled.
            NotFound: There is no such experiment.
        """
        try:
            return self._watched("extend", extending.extend, id, extension, study)
        except extending.Overtaken:
            return None

    def retry_failed(
        self, id: str, request_id: str = "", request_hash: str = "", index: int | None = None
    ) -> ExperimentRecord:
        """Queue failed runs again, from where they stopped. Repeatable if it has a request id.

        Args:
            id: The experiment's id.
            request_id: Key for idempotency, or "".
            request_hash: SHA-256 of the request.
            index: Only this run; None: all failed runs.

        Raises:
            RequestIdReused: The request id was used with another hash.
            InvalidRequest: The experiment is deleted or was cancelled, or the run ended without failing. The
                violation names the field "name".
            QuotaExceeded: A limit is reached.
            NotFound: There is no such experiment or run.
        """
        return self._watched("retry", retrying.retry, id, request_id, request_hash, index)

    def find_extension(self, request_id: str, request_hash: str) -> ExperimentRecord | None:
        """The experiment that a request extended, or None.

        Raises:
            RequestIdReused: The request id was used with another hash.
        """
        return self.database.read(extending.find_request, request_id, request_hash)

    def get_experiment(self, id: str) -> ExperimentRecord:
        """One experiment. Raises NotFound."""
        return self.database.read(experiments.get, id)

    def get_experiments(self, ids: Sequence[str], where: Filter = ALL) -> list[ExperimentRecord]:
        """Several experiments, in the order of their ids.

        Raises:
            NotFound: An experiment does not exist or does not satisfy `where`.
        """
        return self.database.read(experiments.get_several, ids, where)

    def queue_place(self, id: str) -> QueuePlace | None:
        """Estimate an experiment's place in the queue.

        Returns:
            Its place; None if none of its packs waits, or if no node can hold them.

        Raises:
            NotFound: There is no such experiment.
        """
        return self.database.read(queueing.place, id)

    def list_experiments(
        self,
        where: Filter = ALL,
        *,
        limit: int,
        before: tuple[float, str] | None = None,
        show_deleted: bool = False,
    ) -> list[ExperimentRecord]:
        """Experiments, newest first.

        Args:
            where: Condition on state, experiment, priority, project, owner, create_time, start_time, end_time
                (seconds since 1970-01-01 UTC), labels.KEY.
            limit: Maximum number of records.
            before: Creation time and id of the last record on the previous page.
            show_deleted: Whether to include deleted experiments.

        Raises:
            ValueError: A condition on another field.
        """
        return self.database.read(experiments.listing, where, limit, before, show_deleted=show_deleted)

    def update_experiment(self, id: str, revision: Revision) -> ExperimentRecord:
        """Change the display name, labels, notes or priority of an experiment. Repeatable without an etag.

        Raises:
            EtagMismatch: It has been changed since it had this etag.
            InvalidRequest: It would have too many labels.
            QuotaExceeded: The priority is raised above a limit.
            NotFound: There is no such experiment.
        """
        return self._watched("update", updating.update, id, revision)

    def cancel_experiment(self, id: str) -> ExperimentRecord:
        """Request all unfinished runs to stop; queued runs are cancelled now. Repeatable. Raises NotFound."""
        return self.database.write(experiments.cancel, id)

    def pause_experiment(self, id: str) -> ExperimentRecord:
        """Pause an experiment until it is resumed. Packs in training are given back at a slice boundary.

        Changes nothing if it has ended or is being cancelled. Repeatable. Raises NotFound.
        """
        return self.database.write(experiments.pause, id)

    def resume_experiment(self, id: str) -> ExperimentRecord:
        """Resume an experiment. Changes nothing if it is not paused. Repeatable. Raises NotFound."""
        return self.database.write(experiments.resume, id)

    def events(self, experiment: str, *, after: int, limit: int) -> list[EventRecord]:
        """Events with a greater number than `after`, in order. Raises NotFound."""
        return self.database.read(events.listing, experiment, after, limit)

    def heads(self, experiments: Collection[str]) -> dict[str, int]:
        """Number of the newest event of each experiment that exists."""
        return self.database.read(events.heads, experiments)

    def notice(self, experiment: str, message: str) -> None:
        """Add a message for users to the events. Raises NotFound."""
        self.database.write(events.notice, experiment, message)

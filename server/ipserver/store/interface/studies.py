"""Methods on studies, for the API and for dispatchers, which drive studies."""

from __future__ import annotations

from collections.abc import Collection

from ipserver.store.interface.base import Transactions
from ipserver.store.records.experiments import Revision
from ipserver.store.records.studies import NewRound, NewStudy, StudyOutcome, StudyRecord
from ipserver.store.states import StudyState
from ipserver.store.transactions import studies, study_rounds, updating


class Studies(Transactions):
    """Methods on studies, for the API and for dispatchers, which drive studies."""

    def create_study(self, new: NewStudy) -> StudyRecord:
        """Accept a study. Repeatable if it has a request id.

        Raises:
            RequestIdReused: The request id was used with another hash.
            AlreadyExists: The id is taken.
        """
        return self._watched("study", studies.create, new)

    def find_study_request(self, request_id: str, request_hash: str) -> StudyRecord | None:
        """The study that a request created, or None. Raises RequestIdReused."""
        return self.database.read(studies.find_request, request_id, request_hash)

    def get_study(self, id: str) -> StudyRecord:
        """One study. Raises NotFound."""
        return self.database.read(studies.get, id)

    def list_studies(
        self,
        *,
        limit: int,
        before: tuple[float, str] | None = None,
        projects: Collection[str] | None = None,
        show_deleted: bool = False,
    ) -> list[StudyRecord]:
        """Studies, newest first; `projects`: only of these. Other arguments as for `list_experiments`."""
        return self.database.read(studies.listing, limit, before, projects, show_deleted=show_deleted)

    def update_study(self, id: str, revision: Revision) -> StudyRecord:
        """Change the display name, labels, notes or priority of a study. Repeatable without an etag.

        Raises:
            EtagMismatch: It has been changed since it had this etag.
            InvalidRequest: It would have too many labels.
            QuotaExceeded: The priority is raised above a limit.
            NotFound: There is no such study.
        """
        return self._watched("update", updating.update_study, id, revision)

    def cancel_study(self, id: str) -> StudyRecord:
        """Request a study to end. Changes nothing if it has ended. Repeatable. Raises NotFound."""
        return self.database.write(studies.cancel, id)

    def lease_studies(self, owner: str, ttl: float) -> list[StudyRecord]:
        """Lease all free unfinished studies for `ttl` seconds; return those that the owner holds.

        A new owner gets a new token.
        """
        if not self.database.read(studies.unfinished):
            return []  # the usual case takes no write transaction
        return self.database.write(studies.lease, owner, ttl)

    def abandoned_studies(self, seconds: float) -> list[str]:
        """Ids of unfinished studies that no dispatcher has held for this many seconds."""
        return self.database.read(studies.abandoned, seconds)

    def begin_round(self, study: str, token: int, new: NewRound, outcome: StudyOutcome) -> StudyRecord:
        """Record a round with its actions before any is taken, and the outcome of the rounds before it.

        Raises:
            Fenced: The token is not current, or the study is being cancelled or has ended.
        """
        return self._watched("round", study_rounds.begin_round, study, token, new, outcome)

    def end_actions(self, study: str, token: int, number: int) -> StudyRecord:
        """Record that all actions of a round were taken. Repeatable.

        Raises:
            Fenced: The token is not current, or the study has ended.
        """
        return self._watched("asked", study_rounds.end_actions, study, token, number)

    def finish_study(self, study: str, token: int, state: StudyState, outcome: StudyOutcome) -> StudyRecord:
        """End a study.

        Raises:
            Fenced: The token is not current, the study has ended, or it is being cancelled and `state` is not
                CANCELLED.
        """
        return self._watched("verdict", study_rounds.finish, study, token, state, outcome)

    def pack_seconds(self, experiment: str) -> dict[str, tuple[float, int]]:
        """For each pack, the total seconds of its attempts and the number of its runs."""
        return self.database.read(study_rounds.seconds, experiment)

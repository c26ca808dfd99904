"""Methods for deletion, undeletion and purges, for the API and for the sweepers of dispatchers."""

from __future__ import annotations

from ipserver.store.interface.base import Transactions
from ipserver.store.records.audit import OwnActs
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.studies import StudyRecord
from ipserver.store.tables import experiments, studies
from ipserver.store.transactions import deleting
from ipserver.store.transactions.taken import require_free

_OWN = OwnActs()


class Deleting(Transactions):
    """Methods for deletion, undeletion and purges, for the API and for the sweepers of dispatchers."""

    def delete_experiment(self, id: str, keep_seconds: float, etag: str = "") -> ExperimentRecord:
        """Hide an ended experiment from listings; it is purged after `keep_seconds`. Repeatable.

        Raises:
            EtagMismatch: It has another etag.
            InvalidRequest: It has not ended, or it belongs to a study that has not ended (field "name").
            NotFound: There is no such experiment.
        """
        return self._watched("delete", deleting.delete_experiment, id, keep_seconds, etag)

    def undelete_experiment(self, id: str) -> ExperimentRecord:
        """Restore a deleted experiment. Changes nothing if it is not deleted. Repeatable.

        Raises:
            InvalidRequest: It is being purged. The violation names the field "name".
            NotFound: There is no such experiment.
        """
        return self._watched("delete", deleting.undelete_experiment, id)

    def purge_experiment(self, id: str) -> ExperimentRecord:
        """Begin to purge a deleted experiment before its retention time ends. Repeatable.

        Raises:
            InvalidRequest: It is not deleted. The violation names the field "name".
            NotFound: There is no such experiment.
        """
        return self._watched("delete", deleting.purge_experiment, id)

    def delete_old_experiments(self, keep_seconds: float, limit: int, acts: OwnActs = _OWN) -> list[str]:
        """Delete experiments whose end is older than their project's limit `retention_days`.

        Undeleted experiments and those of running studies are not deleted.

        Args:
            keep_seconds: As for `delete_experiment`.
            limit: Maximum number.
            acts: How these deletions are recorded in the audit log.

        Returns:
            Their ids.
        """
        if not any(quota.name == "retention_days" for quota in self.accounts.quotas()):
            return []
        return self._watched("delete", deleting.delete_old, keep_seconds, limit, acts)

    def delete_study(self, id: str, keep_seconds: float) -> StudyRecord:
        """Hide an ended study from listings, as `delete_experiment`; its experiments stay."""
        return self._watched("delete", deleting.delete_study, id, keep_seconds)

    def undelete_study(self, id: str) -> StudyRecord:
        """Restore a deleted study, as `undelete_experiment`."""
        return self._watched("delete", deleting.undelete_study, id)

    def purge_study(self, id: str) -> StudyRecord:
        """Begin to purge a deleted study, as `purge_experiment`; its experiments stay."""
        return self._watched("delete", deleting.purge_study, id)

    def require_free_experiment(self, id: str) -> None:
        """Raise AlreadyExists if an existing or purged experiment has this id."""
        self.database.read(require_free, experiments, id)

    def require_free_study(self, id: str) -> None:
        """As `require_free_experiment`, for studies."""
        self.database.read(require_free, studies, id)

    def purged_experiments(self, quiet_seconds: float, limit: int, acts: OwnActs = _OWN) -> list[str]:
        """Begin to purge experiments whose retention time has ended; return ids of experiments being purged.

        Args:
            quiet_seconds: Only experiments whose last attempt ended at least this long ago: a worker that was
                cut off may still write for a while.
            limit: Maximum number.
            acts: How purges by retention time are recorded in the audit log.
        """
        if not self.database.read(deleting.any_due):
            return []
        self._watched("purge", deleting.begin_due, limit, acts)
        return self.database.read(deleting.purging, quiet_seconds, limit)

    def forget_purged_experiment(self, id: str) -> bool:
        """Remove a part of a purged experiment's rows, after its files have been removed.

        Returns:
            Whether all rows are removed except the one that keeps its id from being reused.
        """
        return self._watched("purge", deleting.forget_experiment, id)

    def forget_purged_studies(self, acts: OwnActs = _OWN) -> int:
        """Remove the rows of studies being purged or with an ended retention time; return their number.

        Args:
            acts: How purges by retention time are recorded in the audit log.
        """
        if not self.database.read(deleting.any_due):
            return 0
        return self._watched("purge", deleting.forget_studies, acts)

"""Methods on what is deleted: for the API, and for dispatchers, which remove what is purged."""

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
    """Methods on what is deleted: for the API, and for dispatchers, which remove what is purged."""

    def delete_experiment(self, id: str, keep_seconds: float, etag: str = "") -> ExperimentRecord:
        """Hide an ended experiment from listings; it is purged after `keep_seconds`. Repeatable.

        Raises:
            EtagMismatch: It has another etag.
            InvalidRequest: It has not ended, or a study that goes on asked for it (field "name").
            NotFound: There is no such experiment.
        """
        return self._watched("delete", deleting.delete_experiment, id, keep_seconds, etag)

    def undelete_experiment(self, id: str) -> ExperimentRecord:
        """Bring a deleted experiment back. Changes nothing if it is not deleted. Repeatable.

        Raises:
            InvalidRequest: It is being purged. The violation names the field "name".
            NotFound: There is no such experiment.
        """
        return self._watched("delete", deleting.undelete_experiment, id)

    def purge_experiment(self, id: str) -> ExperimentRecord:
        """Begin to purge a deleted experiment, whatever its time. Repeatable.

        Raises:
            InvalidRequest: It is not deleted. The violation names the field "name".
            NotFound: There is no such experiment.
        """
        return self._watched("delete", deleting.purge_experiment, id)

    def delete_old_experiments(self, keep_seconds: float, limit: int, acts: OwnActs = _OWN) -> list[str]:
        """Delete experiments that ended longer ago than their projects keep them (limit `retention_days`).

        Experiments that were undeleted, and those of running studies, are left alone.

        Args:
            keep_seconds: As for `delete_experiment`.
            limit: Maximum number.
            acts: How each of them gets into the audit log.

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
        """Bring a deleted study back, as `undelete_experiment`."""
        return self._watched("delete", deleting.undelete_study, id)

    def purge_study(self, id: str) -> StudyRecord:
        """Let a deleted study be purged, as `purge_experiment`; its experiments stay."""
        return self._watched("delete", deleting.purge_study, id)

    def require_free_experiment(self, id: str) -> None:
        """Raise AlreadyExists if an experiment has this id, or had it before it was purged."""
        self.database.read(require_free, experiments, id)

    def require_free_study(self, id: str) -> None:
        """As `require_free_experiment`, of studies."""
        self.database.read(require_free, studies, id)

    def purged_experiments(self, quiet_seconds: float, limit: int, acts: OwnActs = _OWN) -> list[str]:
        """Ids of experiments that are being purged; those whose time is up are from now on.

        Args:
            quiet_seconds: Only those whose last attempt ended at least this long ago, since a worker that was
                cut off may still write for a while.
            limit: Maximum number.
            acts: How those whose time is up get into the audit log.
        """
        if not self.database.read(deleting.any_due):
            return []
        self._watched("purge", deleting.begin_due, limit, acts)
        return self.database.read(deleting.purging, quiet_seconds, limit)

    def forget_purged_experiment(self, id: str) -> bool:
        """Remove a part of what the store knows of a purged experiment, whose files are removed already.

        Returns:
            Whether nothing of it is left but that it was there.
        """
        return self._watched("purge", deleting.forget_experiment, id)

    def forget_purged_studies(self, acts: OwnActs = _OWN) -> int:
        """Remove what the store knows of studies whose time is up; return their number.

        Args:
            acts: How those that nobody asked to purge get into the audit log.
        """
        if not self.database.read(deleting.any_due):
            return 0
        return self._watched("purge", deleting.forget_studies, acts)

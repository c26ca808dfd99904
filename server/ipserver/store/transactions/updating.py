"""Changes to the display name, labels, notes and priority of experiments and studies.

A change to an experiment adds an event, without the text of notes, which may be long.
"""

from __future__ import annotations

from ipserver.errors import EtagMismatch, FieldViolation, InvalidRequest
from ipserver.names import MOST_LABELS
from ipserver.store.database import Transaction
from ipserver.store.records.experiments import ExperimentRecord, Revision
from ipserver.store.records.studies import StudyRecord
from ipserver.store.transactions import quotas, studies
from ipserver.store.transactions.edits import editing
from ipserver.store.transactions.experiments import experiment_record, get


def update(transaction: Transaction, experiment: str, revision: Revision) -> ExperimentRecord:
    """See `Store.update_experiment`."""
    with editing(transaction, experiment) as edit:
        before = experiment_record(edit.before)
        require_etag(before, revision.etag)
        edit.values |= revision.values
        if revision.labels:
            edit.values["labels"] = _labels(before, revision)
        changed = sorted(name for name, value in edit.values.items() if value != getattr(before, name))
        if changed:
            told = {name: edit.values[name] for name in changed if name != "notes"}
            edit.event("updated", {"fields": changed, **told})
        if (priority := revision.values.get("priority", before.priority)) > before.priority:
            asked_by = revision.asked_by or before.owned_by
            quotas.check_priority(transaction, before.project, asked_by, priority)
    return get(transaction, experiment)


def update_study(transaction: Transaction, study: str, revision: Revision) -> StudyRecord:
    """See `Store.update_study`."""
    row = studies.locked(transaction, study)
    before = studies.get(transaction, study)
    require_etag(before, revision.etag)
    values = dict(revision.values)
    if revision.labels:
        values["labels"] = _labels(before, revision)
    if (priority := values.get("priority", before.priority)) > before.priority:
        quotas.check_priority(transaction, before.project, revision.asked_by or before.owned_by, priority)
    if any(value != getattr(before, name) for name, value in values.items()):
        studies.change(transaction, row, **values)
    return studies.get(transaction, study)


def require_etag(record: ExperimentRecord | StudyRecord, etag: str) -> None:
    """Raise EtagMismatch unless `etag` is the record's etag or ""."""
    if etag not in ("", record.etag):
        one = "experiment" if isinstance(record, ExperimentRecord) else "study"
        raise EtagMismatch(
            f"{one} {record.id!r} was changed since it had the etag {etag[:40]!r}; its etag is now "
            f"{record.etag!r}: read it again before you change it"
        )


def _labels(before: ExperimentRecord | StudyRecord, revision: Revision) -> dict[str, str]:
    """All labels after the changes of single ones."""
    changed = {**revision.values.get("labels", before.labels), **revision.labels}
    labels = {key: value for key, value in changed.items() if value is not None}
    if len(labels) > MOST_LABELS:
        field = "experiment.labels" if isinstance(before, ExperimentRecord) else "study.labels"
        text = f"would result in {len(labels)} labels; at most {MOST_LABELS} are allowed: remove some"
        raise InvalidRequest([FieldViolation(field, text)])
    return labels

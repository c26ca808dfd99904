"""Changes to what describes an experiment: name for people, labels, notes; and to its priority.

What changes leaves an event, without the text of notes, which may be long.
"""

from __future__ import annotations

from ipserver.errors import EtagMismatch, FieldViolation, InvalidRequest
from ipserver.names import MOST_LABELS
from ipserver.store.database import Transaction
from ipserver.store.records.experiments import ExperimentRecord, Revision
from ipserver.store.transactions import quotas
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
            quotas.check_priority(transaction, before.project, before.owned_by, priority)
    return get(transaction, experiment)


def require_etag(record: ExperimentRecord, etag: str) -> None:
    """Raise EtagMismatch unless this is the experiment's etag, or ""."""
    if etag not in ("", record.etag):
        raise EtagMismatch(
            f"experiment {record.id!r} was changed since it had the etag {etag[:40]!r}; its etag is "
            f"{record.etag!r} now: read it again, and decide again"
        )


def _labels(before: ExperimentRecord, revision: Revision) -> dict[str, str]:
    """All labels, once single ones are changed."""
    changed = {**revision.values.get("labels", before.labels), **revision.labels}
    labels = {key: value for key, value in changed.items() if value is not None}
    if len(labels) > MOST_LABELS:
        text = f"would be {len(labels)} labels; at most {MOST_LABELS} are allowed: remove some"
        raise InvalidRequest([FieldViolation("experiment.labels", text)])
    return labels

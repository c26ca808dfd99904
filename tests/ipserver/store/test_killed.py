"""A process is killed before, during or after a write: all of it is there or none, and it can be repeated."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ipserver import failpoints
from ipserver.store import Store, open_store
from ipserver.store.companion import accompanied
from ipserver.store.records.audit import AuditedCall
from ipserver.store.records.experiments import Revision
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from tests.ipserver.store.cases import lease, new_experiment, new_runs, planned, told
from tests.ipserver.store.test_studies import new_study


@dataclass(frozen=True)
class Write:
    """A write under test.

    Attributes:
        point: Its failpoint.
        prepare: What was there before.
        write: Does it; doing it again changes nothing.
        seen: What shows whether it was done.
    """

    point: str
    prepare: Callable[[Store], object]
    write: Callable[[Store], object]
    seen: Callable[[Store], object]


def created(store: Store) -> None:
    store.create_experiment(new_experiment(labels={"a": "1"}), new_runs(2))


def told_of(store: Store) -> object:
    record = store.get_experiment("e")
    return record.notes, record.labels, record.priority


UPDATE = Revision(values={"notes": "n", "priority": 3}, labels={"a": None, "b": "2"})


def asked(store: Store) -> None:
    store.create_study(new_study(labels={"a": "1"}))


def told_of_study(store: Store) -> object:
    record = store.get_study("s")
    return record.notes, record.labels, record.priority, record.sequence


def cancelled(store: Store) -> None:
    created(store)
    store.cancel_experiment("e")


def deleted(store: Store) -> None:
    cancelled(store)
    store.delete_experiment("e", 1e9)


def old(store: Store) -> None:
    cancelled(store)
    # Everything that has ended is old.
    store.accounts.set_quota("*", "", "retention_days", 0.0)


def purging(store: Store) -> None:
    deleted(store)
    store.purge_experiment("e")
    while len(store.events("e", after=0, limit=9)):  # all parts but the last one
        store.forget_purged_experiment("e")


def failed(store: Store) -> None:
    planned(store, [[0]])
    pack = lease(store)
    failure = Failure(FailureReason.TRAINING_ERROR, "it broke")
    store.end_attempt("e", pack.id, pack.token, failure=failure, retry=False)


def told_and_waiting(store: Store) -> object:
    return told(store), len(store.waiting())


def listed(store: Store) -> object:
    found = store.list_experiments(limit=9, show_deleted=True)
    return [(one.delete_time is None, one.purge_time is None, one.mlflow_pending_runs) for one in found]


CALL = AuditedCall("alice", "method", "experiments/e", "", "::1")


def call(store: Store) -> object:
    with accompanied(store.entry_of(CALL, 1e9)):
        return store.cancel_experiment("e")


def audited(store: Store) -> object:
    """Kinds of entries (a call that is made again has another one), and what the call has done."""
    kinds = {(entry.user, entry.code) for entry in store.audit_entries(limit=9)}
    return kinds, store.get_experiment("e").state


WRITES = {
    "call": Write("audit", created, call, audited),
    "failed call": Write(
        "audit", created, lambda store: store.entry_of(CALL, 1e9).finish("NOT_FOUND"), audited
    ),
    "refused": Write(
        "audit",
        created,
        lambda store: store.note_refused_call(CALL, "NOT_FOUND", {("X", ""): 2}, 1e9),
        audited,
    ),
    "update": Write("update", created, lambda store: store.update_experiment("e", UPDATE), told_of),
    "update-study": Write("update", asked, lambda store: store.update_study("s", UPDATE), told_of_study),
    "retry": Write("retry", failed, lambda store: store.retry_failed("e", "r", "hash"), told_and_waiting),
    "delete": Write("delete", cancelled, lambda store: store.delete_experiment("e", 1e9), listed),
    "old": Write("delete", old, lambda store: store.delete_old_experiments(1e9, 9), listed),
    "undelete": Write("delete", deleted, lambda store: store.undelete_experiment("e"), listed),
    "purge": Write("delete", deleted, lambda store: store.purge_experiment("e"), listed),
    "forget": Write("purge", purging, lambda store: store.forget_purged_experiment("e"), listed),
}


@pytest.mark.parametrize("phase", ["before", "during", "after"])
@pytest.mark.parametrize("name", WRITES)
def test_all_of_a_write_is_there_or_none(dsn: str, tmp_path: Path, name: str, phase: str) -> None:
    write = WRITES[name]
    with open_store(dsn) as store:
        write.prepare(store)
        before = write.seen(store)
    (tmp_path / f"{write.point}.{phase}").write_text("kill")
    assert in_a_child(dsn, tmp_path, write.write) == -signal.SIGKILL
    with open_store(dsn) as store:
        after_kill = write.seen(store)
        write.write(store)
        done = write.seen(store)
        assert done != before
        assert after_kill == (done if phase == "after" else before)
        write.write(store)
        assert write.seen(store) == done


def in_a_child(dsn: str, folder: Path, work: Callable[[Store], object]) -> int:
    """Do something in a forked process that obeys the failpoints of a folder; its exit code, or -signal."""
    child = os.fork()
    if child == 0:
        failpoints._folder = folder
        with open_store(dsn) as store:
            work(store)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

"""The audit log: entries beside what calls write, refusals, pages, retention."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from ipserver.errors import AlreadyExists
from ipserver.store import Store
from ipserver.store.companion import accompanied
from ipserver.store.database import Transaction
from ipserver.store.records.audit import AuditedCall, AuditRecord
from ipserver.store.records.filters import Comparison
from ipserver.store.tables import grants
from tests.ipserver.store.cases import Clock, new_experiment, new_runs
from tests.ipserver.store.test_extending import extension

DAY = 86_400.0
METHOD = "iplab.v1.ExperimentService/CancelExperiment"


def a_call(resource: str = "experiments/e", user: str = "alice", project: str = "") -> AuditedCall:
    return AuditedCall(user, METHOD, resource, project, "10.0.0.7")


def test_what_a_call_writes_brings_its_entry_along(store: Store, clock: Clock) -> None:
    entry = store.entry_of(a_call(), DAY)
    began = clock.time
    with accompanied(entry):
        store.create_experiment(new_experiment("e", project="default"), new_runs(1))
        clock.advance(1)
        store.cancel_experiment("e")  # the call has its entry already
    entry.finish("INTERNAL")  # of the answer: what was done stays done
    (found,) = store.audit_entries(limit=9)
    assert found == AuditRecord(
        "alice", METHOD, "experiments/e", "default", "10.0.0.7", found.id, began, began, "OK", 1
    )
    store.pause_experiment("e")  # nobody's call
    assert len(store.audit_entries(limit=9)) == 1


def test_a_call_that_writes_nothing_has_an_entry_of_its_own(store: Store) -> None:
    store.create_experiment(new_experiment("e"), new_runs(1))
    for code in ("OK", "ALREADY_EXISTS"):
        entry = store.entry_of(a_call(), DAY)
        with accompanied(entry):
            store.get_experiment("e")
        assert not entry.committed
        entry.finish(code)
    assert [found.code for found in store.audit_entries(limit=9)] == ["ALREADY_EXISTS", "OK"]


def test_a_transaction_that_is_rolled_back_leaves_no_entry(store: Store) -> None:
    store.create_experiment(new_experiment("e"), new_runs(1))
    entry = store.entry_of(a_call(), DAY)
    with accompanied(entry), pytest.raises(AlreadyExists):
        store.create_experiment(new_experiment("e"), new_runs(1))
    assert store.audit_entries(limit=9) == []
    entry.finish("ALREADY_EXISTS")
    assert [found.code for found in store.audit_entries(limit=9)] == ["ALREADY_EXISTS"]


def test_an_extension_that_another_overtook_leaves_no_entry(store: Store) -> None:
    """It is tried again with the spec of now, and may be refused then."""
    store.create_experiment(new_experiment("e"), new_runs(1))
    entry = store.entry_of(a_call(), DAY)
    with accompanied(entry):
        assert store.extend_experiment("e", replace(extension(1, 1), extended_hash="of before")) is None
    assert not entry.committed
    entry.finish("INVALID_ARGUMENT")
    assert [found.code for found in store.audit_entries(limit=9)] == ["INVALID_ARGUMENT"]


def test_a_transaction_that_is_repeated_brings_one_entry(store: Store) -> None:
    entry, times = store.entry_of(a_call(), DAY), []

    def work(transaction: Transaction) -> None:
        times.append(transaction)
        row = {"project": "default", "principal": "bob", "role": 1, "create_time": 0.0}
        transaction.connection.execute(sa.insert(grants).values(row))
        if len(times) == 1:
            transaction.connection.execute(sa.insert(grants).values(row))  # unique: as if another was faster

    with accompanied(entry):
        store.database.write(work)
    assert len(times) == 2
    assert [found.code for found in store.audit_entries(limit=9)] == ["OK"]


def test_what_a_thread_writes_after_its_caller_has_gone_is_told(store: Store, clock: Clock) -> None:
    store.create_experiment(new_experiment("e"), new_runs(1))
    entry = store.entry_of(a_call(), DAY)
    entry.finish("CANCELLED")
    assert [found.code for found in store.audit_entries(limit=9)] == ["CANCELLED"]
    clock.advance(2)
    with accompanied(entry):
        store.cancel_experiment("e")
    (found,) = store.audit_entries(limit=9)
    assert (found.code, found.end_time) == ("OK", found.time + 2)


def test_what_a_call_made_names_its_entry(store: Store) -> None:
    with accompanied(store.entry_of(a_call(resource="", project="lab"), DAY)):
        store.accounts.create_project("lab")
    with accompanied(store.entry_of(a_call(resource="", project="lab"), DAY)):
        store.create_experiment(new_experiment("made", project="lab"), new_runs(1))
    found = [(one.resource, one.project) for one in store.audit_entries(limit=9)]
    assert found == [("experiments/made", "lab"), ("", "lab")]


@pytest.mark.parametrize(
    ("resource", "project"),
    [
        ("experiments/e/runs/r00000", "lab"),
        ("experiments/absent", ""),
        ("studies/e", ""),
        ("projects/lab", "lab"),
        ("projects/absent", ""),
        ("", ""),
        ("x'; drop table audit; --/\u202e", ""),
    ],
)
def test_the_project_is_that_of_the_resource(store: Store, resource: str, project: str) -> None:
    store.accounts.create_project("lab")
    store.create_experiment(new_experiment("e", project="lab"), new_runs(1))
    store.note_refused_call(a_call(resource), "PERMISSION_DENIED", {}, DAY)
    (entry,) = store.audit_entries(limit=9)
    assert (entry.resource, entry.project, entry.code) == (resource, project, "PERMISSION_DENIED")
    assert entry.end_time == entry.time


def test_refusals_that_were_only_counted_come_with_the_next_one(store: Store) -> None:
    more = {("UNAUTHENTICATED", ""): 7, ("NOT_FOUND", "bob"): 2}
    store.note_refused_call(a_call(), "PERMISSION_DENIED", more, DAY)
    store.note_refused_call(None, "", {("NOT_FOUND", "bob"): 3}, DAY)
    found = [(one.code, one.calls, one.user, one.method, one.peer) for one in store.audit_entries(limit=9)]
    assert found == [
        ("NOT_FOUND", 3, "bob", "", ""),
        ("PERMISSION_DENIED", 1, "alice", METHOD, "10.0.0.7"),
        ("UNAUTHENTICATED", 7, "", "", ""),
        ("NOT_FOUND", 2, "bob", "", ""),
    ]


def test_pages_and_filters(store: Store) -> None:
    for n in range(5):
        store.note_refused_call(
            a_call(user=f"user{n % 2}", project=("lab", "other")[n % 2]), "NOT_FOUND", {}, DAY
        )
    newest = store.audit_entries(limit=9)
    assert [entry.user for entry in newest] == ["user0", "user1", "user0", "user1", "user0"]
    first = store.audit_entries(limit=2)
    rest = store.audit_entries(limit=9, before=first[-1].id)
    assert first + rest == newest
    assert len(store.audit_entries(Comparison("user", "=", "user1"), limit=9)) == 2
    assert {entry.project for entry in store.audit_entries(limit=9, among=["lab"])} == {"lab"}
    assert store.audit_entries(limit=9, among=[]) == []
    with pytest.raises(ValueError, match="there is no field 'width'"):
        store.audit_entries(Comparison("width", "=", 1), limit=9)


def test_old_entries_go_as_new_ones_come(store: Store, clock: Clock) -> None:
    for _ in range(40):
        store.note_refused_call(a_call(user="old"), "NOT_FOUND", {}, 10 * DAY)
    clock.advance(11 * DAY)
    for _ in range(16):  # old ones are looked for once in so many
        store.note_refused_call(a_call(user="new"), "NOT_FOUND", {}, 10 * DAY)
    assert {entry.user for entry in store.audit_entries(limit=99)} == {"new"}

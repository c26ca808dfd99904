"""The audit log: entries before and after a call, refusals, pages, retention."""

from __future__ import annotations

import pytest

from ipserver.store import Store
from ipserver.store.records.audit import AuditedCall, AuditRecord
from ipserver.store.records.filters import Comparison
from tests.ipserver.store.cases import Clock, new_experiment, new_runs

DAY = 86_400.0
METHOD = "iplab.v1.ExperimentService/CancelExperiment"


def a_call(resource: str = "experiments/e", user: str = "alice", project: str = "") -> AuditedCall:
    return AuditedCall(user, METHOD, resource, project, "10.0.0.7")


def test_a_call_is_there_before_its_result(store: Store, clock: Clock) -> None:
    store.create_experiment(new_experiment("e", project="default"), new_runs(1))
    began = clock.time
    entry = store.begin_call(a_call(), DAY)
    assert store.audit_entries(limit=9) == [
        AuditRecord("alice", METHOD, "experiments/e", "default", "10.0.0.7", entry, began, None, "", 1)
    ]
    clock.advance(2)
    for _ in range(2):  # repeatable
        store.end_call(entry, "OK")
        (ended,) = store.audit_entries(limit=9)
        assert (ended.code, ended.time, ended.end_time) == ("OK", began, began + 2)
        assert ended.resource == "experiments/e"


def test_what_a_call_made_is_known_at_its_end(store: Store) -> None:
    entry = store.begin_call(a_call(resource="", project="lab"), DAY)
    store.end_call(entry, "OK", "experiments/made")
    (ended,) = store.audit_entries(limit=9)
    assert (ended.resource, ended.project) == ("experiments/made", "lab")


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
    store.note_refused_call(a_call(), "PERMISSION_DENIED", {"UNAUTHENTICATED": 7, "NOT_FOUND": 2}, DAY)
    found = [(entry.code, entry.calls, entry.method, entry.peer) for entry in store.audit_entries(limit=9)]
    assert found == [
        ("PERMISSION_DENIED", 1, METHOD, "10.0.0.7"),
        ("UNAUTHENTICATED", 7, "", ""),
        ("NOT_FOUND", 2, "", ""),
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
    for _ in range(3):
        store.begin_call(a_call(user="old"), 10 * DAY)
    clock.advance(11 * DAY)
    late = store.begin_call(a_call(user="new"), 10 * DAY)
    assert [entry.id for entry in store.audit_entries(limit=9)] == [late]
    store.end_call(late - 1, "OK")  # of an entry that is gone
    assert [entry.user for entry in store.audit_entries(limit=9)] == ["new"]

"""Studies in the store: accepted once, held under a token, written round by round, ended once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ipserver.errors import (
    AlreadyExists,
    EtagMismatch,
    Fenced,
    InvalidRequest,
    NotFound,
    QuotaExceeded,
    RequestIdReused,
)
from ipserver.store import Store
from ipserver.store.records.experiments import Revision
from ipserver.store.records.studies import NewRound, NewStudy, StudyOutcome, StudyRecord
from ipserver.store.states import StudyState
from tests.ipserver.store.cases import Clock, last_slice, lease, new_experiment, new_runs, planned

TTL = 30.0
FOUND = StudyOutcome("UNDECIDED", "", "not yet", ({"subject": "mup", "sentence": "it grows"},), 12.5)
ANSWER = StudyOutcome("AGREES", "DECIDED", "it agrees", ({"subject": "mup", "sentence": "it agrees"},), 30.0)


def new_study(id: str = "s", **changes: Any) -> NewStudy:
    values: dict[str, Any] = {
        "id": id,
        "uid": f"uid-{id}",
        "request_id": "",
        "request_hash": "hash",
        "display_name": "A study",
        "labels": {"team": "theory"},
        "priority": 3,
        "spec": b"\x00spec",
        "warnings": ("large",),
    }
    return NewStudy(**values | changes)


def a_round(number: int = 1, *experiments: str, runs: int = 4) -> NewRound:
    return NewRound(
        number, "to see", tuple({"experiment": name, "rates": [0.1]} for name in experiments), runs
    )


def held(store: Store, owner: str = "ann") -> StudyRecord:
    (record,) = store.lease_studies(owner, TTL)
    return record


def test_a_study_is_accepted_once(store: Store, clock: Clock) -> None:
    record = store.create_study(new_study(request_id="r"))
    assert (record.state, record.sequence, record.rounds) == (StudyState.RUNNING, 1, ())
    assert (record.labels, record.priority, record.spec, record.warnings) == (
        {"team": "theory"},
        3,
        b"\x00spec",
        ("large",),
    )
    assert store.create_study(new_study("other", request_id="r")) == record
    assert store.find_study_request("r", "hash") == record
    with pytest.raises(RequestIdReused):
        store.create_study(new_study("other", request_id="r", request_hash="another"))
    with pytest.raises(AlreadyExists):
        store.create_study(new_study())
    clock.advance(5)
    assert store.get_study("s").wall_seconds == 5
    with pytest.raises(NotFound, match="there is no study 'x'; the newest is 's'"):
        store.get_study("x")
    with pytest.raises(NotFound, match="there is no experiment 's'; it is a study: iplab study show s"):
        store.get_experiment("s")
    store.create_experiment(new_experiment("e"), new_runs(1))
    with pytest.raises(NotFound, match="there is no study 'e'; it is an experiment: iplab show e"):
        store.get_study("e")


def test_studies_are_listed_newest_first(store: Store, clock: Clock) -> None:
    for name in ("a", "b", "c"):
        store.create_study(new_study(name))
        clock.advance(1)
    first = store.list_studies(limit=2)
    assert [one.id for one in first] == ["c", "b"]
    last = first[-1]
    assert [one.id for one in store.list_studies(limit=2, before=(last.create_time, last.id))] == ["a"]


def test_one_driver_holds_a_study_and_the_next_one_fences_it(store: Store, clock: Clock) -> None:
    assert store.lease_studies("ann", TTL) == []
    store.create_study(new_study())
    first = held(store)
    assert first.token == 1
    assert store.lease_studies("bob", TTL) == []
    assert held(store).token == 1, "renewed"
    clock.advance(TTL)
    second = held(store, "bob")
    assert second.token == 2
    assert store.lease_studies("ann", TTL) == []
    for write in (
        lambda: store.begin_round("s", first.token, a_round(), FOUND),
        lambda: store.end_actions("s", first.token, 1),
        lambda: store.finish_study("s", first.token, StudyState.SUCCEEDED, ANSWER),
        lambda: store.create_experiment(new_experiment(), new_runs(1), ("s", first.token)),
    ):
        with pytest.raises(Fenced):
            write()
    assert store.get_study("s").rounds == ()
    assert store.create_experiment(new_experiment(), new_runs(1), ("s", second.token)).id == "e"


def test_rounds_tell_what_was_asked_and_what_was_learned(store: Store, clock: Clock) -> None:
    store.create_study(new_study())
    token = held(store).token
    clock.advance(1)
    record = store.begin_round("s", token, a_round(1, "e"), StudyOutcome())
    assert [(one.number, one.done, one.learned, one.end_time) for one in record.rounds] == [
        (1, False, (), None)
    ]
    assert (record.experiments, record.asked_runs) == (("e",), 4)
    assert store.end_actions("s", token, 1).rounds[0].done
    clock.advance(1)
    record = store.begin_round("s", token, a_round(2, "e", "f"), FOUND)
    assert record.outcome == FOUND
    first, second = record.rounds
    assert (first.learned, first.end_time) == (("it grows",), clock.time)
    assert (second.learned, second.actions[0]) == ((), {"experiment": "e", "rates": [0.1]})
    assert record.experiments == ("e", "f")
    clock.advance(1)
    record = store.finish_study("s", token, StudyState.SUCCEEDED, ANSWER)
    assert (record.state, record.outcome, record.end_time) == (StudyState.SUCCEEDED, ANSWER, clock.time)
    assert record.rounds[1].learned == ("it agrees",)
    assert record.wall_seconds == 3
    clock.advance(100)
    assert store.get_study("s").wall_seconds == 3
    assert store.lease_studies("ann", TTL) == []
    with pytest.raises(Fenced):
        store.finish_study("s", token, StudyState.FAILED, ANSWER)


def test_a_study_counts_the_runs_that_have_ended(store: Store) -> None:
    store.create_study(new_study())
    token = held(store).token
    store.begin_round("s", token, a_round(1, "e", "later"), StudyOutcome())
    planned(store, [[0, 1], [2]])
    assert store.get_study("s").ended_runs == 0
    pack = lease(store)
    store.commit_slice("e", pack.id, pack.token, last_slice(pack))
    assert store.get_study("s").ended_runs == 2


def test_cancelling_and_deleting(store: Store) -> None:
    store.create_study(new_study())
    token = held(store).token
    store.begin_round("s", token, a_round(1, "e"), StudyOutcome())
    with pytest.raises(InvalidRequest, match="is RUNNING; cancel it"):
        store.delete_study("s", 1.0)
    record = store.cancel_study("s")
    assert (record.state, record.cancel_requested) == (StudyState.CANCELLING, True)
    assert store.cancel_study("s").sequence == record.sequence
    for write in (
        lambda: store.begin_round("s", token, a_round(2), FOUND),
        lambda: store.create_experiment(new_experiment(), new_runs(1), ("s", token)),
        lambda: store.finish_study("s", token, StudyState.SUCCEEDED, ANSWER),
    ):
        with pytest.raises(Fenced, match="is being cancelled"):
            write()
    cancelled = replace(FOUND, reason="CANCELLED")
    assert store.finish_study("s", token, StudyState.CANCELLED, cancelled).state is StudyState.CANCELLED
    assert store.cancel_study("s").state is StudyState.CANCELLED


def test_studies_that_nobody_drives_are_found(store: Store, clock: Clock) -> None:
    store.create_study(new_study())
    assert store.abandoned_studies(60) == []
    held(store)
    clock.advance(TTL + 59)
    assert store.abandoned_studies(60) == []
    clock.advance(2)
    assert store.abandoned_studies(60) == ["s"]


def test_the_time_of_packs_is_that_of_their_attempts(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1], [2]])
    pack = lease(store)
    clock.advance(3)
    store.end_attempt("e", pack.id, pack.token, failure=None, retry=True)
    pack = lease(store)
    clock.advance(4)
    store.commit_slice("e", pack.id, pack.token, last_slice(pack))
    lease(store)
    assert store.pack_seconds("e") == {"p0": (7.0, 2)}


def test_what_describes_a_study_changes_and_all_else_stays(store: Store) -> None:
    store.create_study(new_study())
    before = held(store)
    values = {"display_name": "New", "notes": "two\nlines", "priority": 7}
    after = store.update_study("s", Revision(values=values, labels={"team": None, "paper": "3"}))
    changed = {"display_name": "New", "notes": "two\nlines", "priority": 7, "labels": {"paper": "3"}}
    assert after == replace(before, **changed, sequence=before.sequence + 1, now=after.now)
    assert store.update_study("s", Revision(values=values)).sequence == after.sequence, "nothing is new"
    # Its driver goes on, and knows of it.
    assert store.begin_round("s", before.token, a_round(1), FOUND).priority == 7
    assert store.get_study("s").etag == after.etag != before.etag, "progress does not change it"
    with pytest.raises(EtagMismatch, match="study 's' was changed"):
        store.update_study("s", Revision(etag=before.etag, values={"notes": "yours"}))
    with pytest.raises(InvalidRequest, match=r"study.labels: would result in 33 labels"):
        store.update_study("s", Revision(labels={f"k{n}": "" for n in range(32)}))
    store.accounts.set_quota("default", "", "priority", 3)
    with pytest.raises(QuotaExceeded, match="at most 3, not 8"):
        store.update_study("s", Revision(values={"priority": 8}))
    assert store.update_study("s", Revision(values={"priority": 4})).priority == 4
    store.accounts.set_quota("default", "", "priority", None)
    store.accounts.set_quota("default", "bob", "priority", 5)
    with pytest.raises(QuotaExceeded, match=r"user 'bob' in project 'default' may ask .* at most 5, not 8"):
        store.update_study("s", Revision(values={"priority": 8}, asked_by="bob"))
    assert store.update_study("s", Revision(values={"priority": 8}, asked_by="carol")).priority == 8
    with pytest.raises(NotFound):
        store.update_study("x", Revision())

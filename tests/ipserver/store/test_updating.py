"""What describes an experiment, and its priority, change; nothing else does."""

from __future__ import annotations

import pytest

from ipserver.errors import EtagMismatch, InvalidRequest, NotFound, QuotaExceeded
from ipserver.store import Store
from ipserver.store.records.experiments import Revision
from tests.ipserver.store.cases import Clock, last_slice, lease, new_experiment, new_runs, planned, told


def test_what_is_given_changes_and_all_else_stays(store: Store) -> None:
    before = store.create_experiment(new_experiment(labels={"team": "theory", "old": "1"}), new_runs(2))
    values = {"display_name": "New", "notes": "two\nlines", "priority": 7}
    after = store.update_experiment("e", Revision(values=values, labels={"old": None, "paper": "3"}))
    assert (after.display_name, after.notes, after.priority) == ("New", "two\nlines", 7)
    assert after.labels == {"team": "theory", "paper": "3"}
    assert after == store.get_experiment("e")
    unchanged = ("uid", "spec", "spec_hash", "state", "counts", "create_time", "project")
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]
    assert store.update_experiment("e", Revision(values={"labels": {"only": "this"}})).labels == {
        "only": "this"
    }
    with pytest.raises(NotFound):
        store.update_experiment("x", Revision(values=values))


def test_what_changes_leaves_an_event(store: Store) -> None:
    first = store.create_experiment(new_experiment(labels={"team": "theory"}), new_runs(2))
    values = {"display_name": first.display_name, "notes": "long", "priority": 7}
    for _ in range(2):  # the second time nothing changes
        after = store.update_experiment("e", Revision(values=values, labels={"paper": "3"}))
        assert after.sequence == 2
    store.update_experiment("e", Revision(values={"display_name": ""}))
    assert told(store) == [
        {"state": "QUEUED"},
        {
            "fields": ["labels", "notes", "priority"],
            "labels": {"team": "theory", "paper": "3"},
            "priority": 7,
        },
        {"fields": ["display_name"], "display_name": ""},
    ]


def test_the_etag_stands_for_what_can_be_updated(store: Store) -> None:
    first = planned(store, [[0]]).etag
    pack = lease(store)
    store.commit_slice("e", pack.id, pack.token, last_slice(pack))
    assert store.get_experiment("e").etag == first, "progress does not change it"
    second = store.update_experiment("e", Revision(etag=first, values={"notes": "mine"})).etag
    assert second != first
    with pytest.raises(EtagMismatch, match=f"now {second!r}"):
        store.update_experiment("e", Revision(etag=first, values={"notes": "yours"}))
    assert store.get_experiment("e").notes == "mine"
    changes = ({"display_name": "x"}, {"priority": 1}, {"labels": {"a": "b"}}, {"notes": "n"})
    seen = {store.update_experiment("e", Revision(values=values)).etag for values in changes}
    assert len(seen | {first, second}) == 6


def test_a_new_priority_counts_at_the_next_decision(store: Store, clock: Clock) -> None:
    planned(store, [[0]], "old")
    clock.advance(1)
    planned(store, [[0]], "new")
    assert [waiting.id for waiting in store.waiting()] == ["old", "new"]
    store.update_experiment("new", Revision(values={"priority": 1}))
    assert [waiting.id for waiting in store.waiting()] == ["new", "old"]
    board = store.board("cluster")
    assert [(it.experiment, it.priority) for it in board.queued] == [("new", 1), ("old", 0)]


def test_a_limit_of_the_priority_counts_when_it_is_raised(store: Store) -> None:
    store.create_experiment(new_experiment(priority=5), new_runs(1))
    store.accounts.set_quota("default", "", "priority", 3)
    # Nothing else counts: nothing is added.
    store.accounts.set_quota("default", "", "live_experiments", 1)
    store.accounts.set_quota("default", "", "artifact_bytes", 0)
    with pytest.raises(QuotaExceeded, match="at most 3, not 6"):
        store.update_experiment("e", Revision(values={"priority": 6, "notes": "n"}))
    assert store.get_experiment("e").notes == ""
    assert store.update_experiment("e", Revision(values={"priority": 4})).priority == 4


def test_labels_stay_few(store: Store) -> None:
    labels = {f"k{n}": "" for n in range(32)}
    store.create_experiment(new_experiment(labels=labels), new_runs(1))
    with pytest.raises(InvalidRequest, match="would result in 33 labels"):
        store.update_experiment("e", Revision(labels={"more": "1"}))
    assert store.update_experiment("e", Revision(labels={"more": "1", "k0": None})).labels["more"] == "1"

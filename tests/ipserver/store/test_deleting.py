"""What is deleted is hidden, can be brought back until it is purged, and is gone then."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from ipserver.errors import AlreadyExists, EtagMismatch, InvalidRequest, NotFound
from ipserver.store import Store
from ipserver.store.records.forwarding import Forwarded
from ipserver.store.records.studies import StudyOutcome
from ipserver.store.states import StudyState
from ipserver.store.tables import experiments, metadata, purged
from ipserver.store.transactions import deleting
from tests.ipserver.store.cases import Clock, last_slice, lease, new_experiment, new_runs, planned
from tests.ipserver.store.test_extending import extension
from tests.ipserver.store.test_studies import a_round, held, new_study

KEEP, QUIET = 1000.0, 60.0


def ended(store: Store, clock: Clock, name: str = "e", seconds: float = 0.0) -> None:
    """An experiment of one run whose only attempt took some time."""
    planned(store, [[0]], name)
    pack = lease(store)
    clock.advance(seconds)
    store.commit_slice(name, pack.id, pack.token, last_slice(pack))


def ended_study(store: Store) -> None:
    store.create_study(new_study())
    study = held(store)
    store.begin_round("s", study.token, a_round(1, "other"), StudyOutcome())
    store.finish_study("s", study.token, StudyState.SUCCEEDED, StudyOutcome())


def purge_all(store: Store, quiet: float = QUIET) -> list[str]:
    """What the sweeper does, without files."""
    store.forget_purged_studies()
    names = store.purged_experiments(quiet, 10)
    for name in names:
        while not store.forget_purged_experiment(name):
            pass
    return names


def test_a_deleted_experiment_is_hidden_until_it_is_undeleted(store: Store, clock: Clock) -> None:
    ended(store, clock)
    before = store.get_experiment("e")
    clock.advance(5)
    deleted = store.delete_experiment("e", KEEP)
    assert (deleted.delete_time, deleted.purge_time) == (clock.time, clock.time + KEEP)
    assert store.list_experiments(limit=9) == []
    assert store.list_experiments(limit=9, show_deleted=True) == [deleted]
    assert store.get_experiment("e") == deleted, "it can still be read"
    assert len(store.list_runs("e", limit=9)) == 1
    clock.advance(5)
    assert store.delete_experiment("e", KEEP) == deleted, "again: its time is not put off"
    with pytest.raises(InvalidRequest, match="it is deleted; undelete it first"):
        store.extend_experiment("e", extension(1, 1))
    with pytest.raises(AlreadyExists, match="'e' was deleted but not purged; undelete it"):
        store.create_experiment(new_experiment(), new_runs(1))
    assert store.undelete_experiment("e") == before
    assert store.undelete_experiment("e") == before
    assert store.list_experiments(limit=9) == [before]


def test_only_what_has_ended_is_deleted(store: Store, clock: Clock) -> None:
    planned(store, [[0]])
    with pytest.raises(InvalidRequest, match="it is QUEUED; cancel it"):
        store.delete_experiment("e", KEEP)
    store.cancel_experiment("e")
    assert store.delete_experiment("e", KEEP).delete_time == clock.time
    store.create_study(new_study())
    with pytest.raises(InvalidRequest, match="it is RUNNING; cancel it"):
        store.delete_study("s", KEEP)
    calls: list[Callable[[], Any]] = [
        lambda: store.delete_experiment("x", KEEP),
        lambda: store.undelete_experiment("x"),
        lambda: store.purge_experiment("x"),
        lambda: store.delete_study("x", KEEP),
        lambda: store.undelete_study("x"),
        lambda: store.purge_study("x"),
    ]
    for call in calls:
        with pytest.raises(NotFound, match="'x'"):
            call()


def test_what_a_study_still_needs_is_not_deleted(store: Store, clock: Clock) -> None:
    ended(store, clock)
    store.create_study(new_study())
    study = held(store)
    store.begin_round("s", study.token, a_round(1, "e"), StudyOutcome())
    with pytest.raises(InvalidRequest, match="it belongs to study 's', which has not ended"):
        store.delete_experiment("e", KEEP)
    store.finish_study("s", study.token, StudyState.SUCCEEDED, StudyOutcome())
    assert store.delete_experiment("e", KEEP).delete_time is not None


def test_an_etag_of_before_a_change_deletes_nothing(store: Store, clock: Clock) -> None:
    ended(store, clock)
    with pytest.raises(EtagMismatch):
        store.delete_experiment("e", KEEP, etag="0" * 16)
    etag = store.get_experiment("e").etag
    assert store.delete_experiment("e", KEEP, etag).delete_time is not None


def test_nothing_is_left_once_its_time_is_up(store: Store, clock: Clock, monkeypatch: Any) -> None:
    monkeypatch.setattr(deleting, "_ROWS_AT_ONCE", 2)
    ended(store, clock)
    ended(store, clock, "kept")
    assert store.events("e", after=0, limit=99)
    store.delete_experiment("e", KEEP)
    clock.advance(KEEP - 1)
    assert purge_all(store) == []
    clock.advance(1)
    assert purge_all(store) == ["e"]
    with pytest.raises(NotFound):
        store.get_experiment("e")
    assert store.list_experiments(limit=9, show_deleted=True) == [store.get_experiment("kept")]
    assert rows_of(store, "e") == {}
    assert rows_of(store, "kept").keys() == {"runs", "packs", "attempts", "segments", "events", "experiments"}
    assert purge_all(store) == []
    with pytest.raises(AlreadyExists, match="'e' was purged, and ids are not reused"):
        store.create_experiment(new_experiment(), new_runs(1))
    with pytest.raises(AlreadyExists):
        store.require_free_experiment("e")
    store.require_free_experiment("f")


def rows_of(store: Store, experiment: str) -> dict[str, int]:
    """Number of rows about an experiment, by table, where there are any."""
    found = {}
    with store.database.engine.connect() as connection:
        for table in metadata.sorted_tables:
            column = table.c.id if table is experiments else table.c.get("experiment")
            if column is not None:
                count = sa.select(sa.func.count()).select_from(table).where(column == experiment)
                if number := connection.execute(count).scalar_one():
                    found[table.name] = number
    return found


def test_a_purge_is_not_taken_back_and_waits_for_late_workers(store: Store, clock: Clock) -> None:
    ended(store, clock)
    with pytest.raises(InvalidRequest, match="it is not deleted; delete it first"):
        store.purge_experiment("e")
    store.delete_experiment("e", KEEP)
    clock.advance(5)
    assert store.purge_experiment("e").purge_time == clock.time
    clock.advance(5)
    assert store.purge_experiment("e").purge_time == clock.time - 5
    with pytest.raises(InvalidRequest, match="it is being purged"):
        store.undelete_experiment("e")
    assert purge_all(store) == [], "a worker that was cut off may still write"
    clock.advance(QUIET)
    assert purge_all(store) == ["e"]


def test_what_was_seen_to_be_due_cannot_be_undeleted(store: Store, clock: Clock) -> None:
    """Its files may be gone already."""
    ended(store, clock)
    store.delete_experiment("e", 1.0)
    clock.advance(2)
    assert store.purged_experiments(QUIET, 10) == []
    with pytest.raises(InvalidRequest, match="it is being purged"):
        store.undelete_experiment("e")


def test_mlflow_gets_nothing_of_what_is_purged(store: Store, clock: Clock) -> None:
    ended(store, clock)
    ended(store, clock, "kept")
    assert {task.experiment.id for task in store.forward_tasks(9)} == {"e", "kept"}
    store.delete_experiment("e", KEEP)
    assert len(store.forward_tasks(9)) == 2, "deleted, it may come back"
    assert store.purge_experiment("e").mlflow_pending_runs == 0
    assert {task.experiment.id for task in store.forward_tasks(9)} == {"kept"}
    clock.advance(QUIET)
    purge_all(store)
    # A forwarder that had it in hand marks what it sent, of other experiments too.
    sent = [Forwarded(name, 0, f"m-{name}", new=True, segment=10**6, state=None) for name in ("e", "kept")]
    assert store.mark_forwarded(sent) == []
    assert store.get_run("kept", 0).mlflow_run_id == "m-kept"


def test_hours_of_this_month_stay_used(store: Store, clock: Clock) -> None:
    store.accounts.set_quota("default", "", "core_hours", 10)

    def used() -> float | None:
        (use,) = store.accounts.uses("default", "")
        return use.used

    ended(store, clock, seconds=3600)
    ended(store, clock, "later", seconds=1800)
    assert used() == pytest.approx(1.5)
    store.delete_experiment("e", 1.0)
    clock.advance(QUIET + 1)
    assert purge_all(store) == ["e"]
    assert used() == pytest.approx(1.5)
    clock.advance(32 * 86_400)
    assert used() == 0


def test_a_study_is_deleted_undeleted_and_purged(store: Store, clock: Clock) -> None:
    ended_study(store)
    before = store.get_study("s")
    deleted = store.delete_study("s", KEEP)
    assert (deleted.delete_time, deleted.purge_time) == (clock.time, clock.time + KEEP)
    assert store.delete_study("s", KEEP).purge_time == deleted.purge_time
    assert store.list_studies(limit=9) == []
    assert [one.id for one in store.list_studies(limit=9, show_deleted=True)] == ["s"]
    assert store.undelete_study("s").outcome == before.outcome
    with pytest.raises(InvalidRequest, match="it is not deleted"):
        store.purge_study("s")
    store.delete_study("s", KEEP)
    clock.advance(KEEP)
    assert store.forget_purged_studies() == 1
    with pytest.raises(NotFound):
        store.get_study("s")
    with pytest.raises(AlreadyExists, match="study 's' was purged"):
        store.create_study(new_study())
    store.create_study(new_study("t"))
    store.cancel_study("t")
    study = held(store)
    store.finish_study("t", study.token, StudyState.CANCELLED, StudyOutcome())
    store.delete_study("t", KEEP)
    store.purge_study("t")
    with pytest.raises(InvalidRequest, match="it is being purged"):
        store.undelete_study("t")
    assert store.forget_purged_studies() == 1
    with store.database.engine.connect() as connection:
        assert set(connection.execute(sa.select(purged.c.name)).scalars()) == {"studies/s", "studies/t"}


DAY = 86_400.0


def test_old_experiments_are_deleted_where_the_project_says_so(store: Store, clock: Clock) -> None:
    for project in ("lab", "other"):
        store.accounts.create_project(project)
    for name, project in (("old", "lab"), ("theirs", "other")):
        planned(store, [[0]], name, project=project)
        store.cancel_experiment(name)
    clock.advance(9 * DAY)
    planned(store, [[0]], "young", project="lab")
    store.cancel_experiment("young")
    planned(store, [[0]], "running", project="lab")
    clock.advance(DAY + 1)

    assert store.delete_old_experiments(KEEP, 9) == [], "nobody asked for it"
    store.accounts.set_quota("lab", "", "retention_days", 10)
    assert store.delete_old_experiments(KEEP, 9) == ["old"]
    assert store.delete_old_experiments(KEEP, 9) == []
    deleted = store.get_experiment("old")
    assert (deleted.delete_time, deleted.purge_time) == (clock.time, clock.time + KEEP)
    last = store.events("old", after=0, limit=99)[-1]
    assert "its project keeps experiments for 10 days after their end" in str(last.payload["message"])

    store.undelete_experiment("old")
    assert store.delete_old_experiments(KEEP, 9) == [], "somebody wants it"
    clock.advance(100 * DAY)
    assert store.delete_old_experiments(KEEP, 9) == ["young"]
    store.accounts.set_quota("*", "", "retention_days", 50)
    assert store.delete_old_experiments(KEEP, 9) == ["theirs"]
    assert not store.get_experiment("running").state.terminal
    delete = "iplab.v1.ExperimentService/DeleteExperiment"
    assert acts_of(store) == [
        ("retention rule of project other", delete, "experiments/theirs", "other"),
        ("retention rule of project lab", delete, "experiments/young", "lab"),
        ("retention rule of project lab", delete, "experiments/old", "lab"),
    ]


def acts_of(store: Store) -> list[tuple[str, str, str, str]]:
    """What the audit log says, newest first."""
    found = store.audit_entries(limit=99)
    assert {(entry.code, entry.peer) for entry in found} <= {("OK", socket.gethostname())}
    return [(entry.user, entry.method, entry.resource, entry.project) for entry in found]


def test_what_is_purged_when_its_time_is_up_is_on_record(store: Store, clock: Clock) -> None:
    """What somebody asked to purge has the entry of that call."""
    for name in ("asked", "old"):
        ended(store, clock, name)
        store.delete_experiment(name, KEEP)
    ended_study(store)
    store.delete_study("s", KEEP)
    store.purge_experiment("asked")
    clock.advance(KEEP)
    assert set(purge_all(store)) == {"asked", "old"}
    assert purge_all(store) == []
    rule = "retention rule of what is deleted"
    assert acts_of(store) == [
        (rule, "iplab.v1.ExperimentService/PurgeExperiment", "experiments/old", "default"),
        (rule, "iplab.v1.StudyService/PurgeStudy", "studies/s", "default"),
    ]


def test_a_rule_leaves_what_a_running_study_needs(store: Store, clock: Clock) -> None:
    store.accounts.set_quota("*", "", "retention_days", 1)
    store.create_study(new_study())
    study = held(store)
    store.begin_round("s", study.token, a_round(1, "first"), StudyOutcome())
    for name in ("first", "second", "third"):
        planned(store, [[0]], name)
        store.cancel_experiment(name)
    clock.advance(2 * DAY)
    assert store.delete_old_experiments(KEEP, 1) == ["second"]
    assert store.delete_old_experiments(KEEP, 9) == ["third"]
    again = held(store)
    store.finish_study("s", again.token, StudyState.SUCCEEDED, StudyOutcome())
    assert store.delete_old_experiments(KEEP, 9) == ["first"]

"""Data that remain to be sent to MLflow, and the forwarder's lease."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from ipserver.errors import NotFound
from ipserver.store import Store, open_store
from ipserver.store.records.files import NewArtifact
from ipserver.store.records.forwarding import Forwarded
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason, RunState
from ipserver.store.transactions import forwarding
from tests.ipserver.store.cases import Clock, a_slice, last_slice, lease, planned, told


def due(store: Store, limit: int = 100) -> list[tuple[str, int]]:
    return [(task.experiment.id, task.run.index) for task in store.forward_tasks(limit)]


def mark(store: Store, index: int = 0, mlflow_run_id: str = "abc", **sent: Any) -> None:
    """Mark a run of experiment "e" as sent by a forwarder that found or created it in MLflow."""
    assert store.mark_forwarded([Forwarded("e", index, mlflow_run_id, new=True, **sent)]) == []


def segment_ids(store: Store) -> list[int]:
    return [segment.id for segment in store.segments("e", packs=None, first_step=0, last_step=None)]


def test_a_run_is_due_whenever_there_is_something_new(store: Store) -> None:
    planned(store, [[0]])
    assert due(store) == []  # Queued runs are not sent yet.
    pack = lease(store)
    (task,) = store.forward_tasks(10)
    assert (task.run.index, task.attempt, task.after_segment, task.files) == (0, 1, 0, ())
    assert task.experiment == store.get_experiment("e")
    mark(store)
    assert store.get_run("e", 0).mlflow_run_id == "abc"
    assert due(store) == []

    file = NewArtifact(0, "weights/initial.safetensors", "l", 1, "a", 0)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 5, artifacts=(file,)))
    (segment,) = segment_ids(store)
    assert due(store) == [("e", 0)]
    mark(store, segment=segment)
    (task,) = store.forward_tasks(10)
    stored = store.get_artifact("e", 0, "weights/initial.safetensors")
    assert (task.after_segment, task.files) == (segment, (stored,))
    mark(store, files=task.files)
    assert due(store) == []

    store.commit_slice("e", "p0", pack.token, last_slice(pack, first=6))
    (task,) = store.forward_tasks(10)
    assert task.files == ()
    mark(store, state=RunState.SUCCEEDED)
    assert due(store) == [("e", 0)]
    assert store.get_experiment("e").mlflow_pending_runs == 1
    mark(store, segment=segment_ids(store)[-1])
    assert due(store) == []
    assert store.get_experiment("e").mlflow_pending_runs == 0
    mark(store, state=RunState.SUCCEEDED)  # A repeated, late mark does not go back.
    assert due(store) == []
    assert store.get_experiment("e").mlflow_pending_runs == 0


def test_only_segments_after_the_newest_sent_are_read(store: Store) -> None:
    planned(store, [[0], [1]])
    packs = [lease(store), lease(store)]
    for step in range(1, 9):
        for pack in packs:
            store.commit_slice("e", pack.id, pack.token, a_slice(step, step))
    ids = [segment.id for segment in store.segments("e", packs=["p1"], first_step=0, last_step=None)]
    cases = ((0, None, ids), (ids[4], None, ids[5:]), (ids[4], 5, ids[5:6]), (ids[-1], None, []))
    for sent, last, left in cases:
        found = store.segments("e", packs=["p1"], first_step=0, last_step=last, after=sent)
        assert [segment.id for segment in found] == left


def test_a_run_does_not_wait_for_segments_after_its_end(store: Store) -> None:
    planned(store, [[0, 1]])
    pack = lease(store)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 2, ended={0: RunState.DIVERGED}))
    store.commit_slice("e", "p0", pack.token, a_slice(3, 4))
    first, _ = segment_ids(store)
    mark(store, segment=first, state=RunState.DIVERGED)
    assert due(store) == [("e", 1)]
    assert store.get_experiment("e").mlflow_pending_runs == 1


def test_the_attempt_is_the_one_that_ended_the_run(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1]])
    pack = lease(store)
    clock.advance(1)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 2, ended={0: RunState.DIVERGED}))
    clock.advance(1)
    store.end_attempt("e", "p0", pack.token, failure=Failure(FailureReason.WORKER_LOST, "gone"), retry=True)
    lease(store)  # The pack continues without run 0.
    assert {task.run.index: task.attempt for task in store.forward_tasks(10)} == {0: 1, 1: 2}


def test_a_new_artifact_of_an_old_path_is_due(store: Store) -> None:
    planned(store, [[0]])
    pack = lease(store)
    file = NewArtifact(0, "w", "l", 1, "a", 0)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 5, segment=b"", artifacts=(file,)))
    (task,) = store.forward_tasks(10)
    mark(store, files=task.files)
    assert due(store) == []
    other = replace(file, location="m")
    store.commit_slice("e", "p0", pack.token, a_slice(6, 7, segment=b"", artifacts=(other,)))
    assert due(store) == [("e", 0)]
    mark(store, files=task.files)  # The older one was sent.
    assert due(store) == [("e", 0)]


def test_runs_that_never_trained_are_due_when_they_end(store: Store) -> None:
    planned(store, [[0], [1]])
    store.cancel_run("e", 1)
    pack = lease(store)
    store.end_attempt(
        "e", pack.id, pack.token, failure=Failure(FailureReason.DATA_UNAVAILABLE, "no data"), retry=False
    )
    assert sorted(due(store)) == [("e", 0), ("e", 1)]
    for index, state in enumerate((RunState.FAILED, RunState.CANCELLED)):
        mark(store, index, str(index), state=state)
    assert due(store) == []
    assert store.get_experiment("e").mlflow_pending_runs == 0


def test_experiments_share_the_tasks_and_each_begins_with_what_waits_longest(
    store: Store, clock: Clock
) -> None:
    for id in ("a", "b"):
        planned(store, [[0, 1], [2]], id)
        clock.advance(1)
        lease(store)
        clock.advance(1)
        lease(store)
    assert due(store) == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2)]
    assert due(store, limit=4) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert due(store, limit=3) == [("a", 0), ("a", 1), ("b", 0)]
    # Each excludes the other's experiments.
    tasks = store.forward_tasks(4, exclude=[("a", 0), ("a", 2)])
    assert [(task.experiment.id, task.run.index) for task in tasks] == [
        ("a", 1),
        ("b", 0),
        ("b", 1),
        ("b", 2),
    ]
    assert store.forward_tasks(9, exclude_experiments=["a", "b"]) == []
    tasks = store.forward_tasks(9, exclude=[("b", 0)], exclude_experiments=["a"])
    assert [(task.experiment.id, task.run.index) for task in tasks] == [("b", 1), ("b", 2)]
    # An experiment that was served and has more to send goes to the end of the queue.
    clock.advance(1)
    store.commit_slice("a", "p0", 1, a_slice(1, 2))
    store.mark_forwarded([Forwarded("a", 0, "abc", new=True)])
    assert due(store, limit=6)[:3] == [("a", 1), ("a", 2), ("a", 0)]


def test_experiments_take_turns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_AT_ONCE", 24)
    monkeypatch.setattr(forwarding, "_NEXT_DUE", forwarding._next_due())
    names = [f"e{number:03d}" for number in range(60)]  # more than two queries return
    for name in names:
        planned(store, [[0]], name)
        store.cancel_experiment(name)
    turns, last = [], ""
    for _ in range(4):
        tasks = store.forward_tasks(20, after=last)
        turns += [task.experiment.id for task in tasks]
        last = turns[-1]
    assert turns == [*names, *names[:20]]
    tasks = store.forward_tasks(20, after="e058", exclude_experiments=names[3:])
    assert [task.experiment.id for task in tasks] == names[:3]
    assert [task.experiment.id for task in store.forward_tasks(1, after="e059")] == ["e000"]


def test_a_training_run_is_sent_now_and_then_and_an_ended_one_at_once(store: Store, clock: Clock) -> None:
    planned(store, [[0], [1]])
    first, second = lease(store), lease(store)

    def wanted() -> list[int]:
        return [task.run.index for task in store.forward_tasks(9, interval=10)]

    assert wanted() == [0, 1]  # MLflow does not have them yet
    for index in (0, 1):
        mark(store, index, str(index))
    store.commit_slice("e", "p0", first.token, a_slice(1, 2))
    store.commit_slice("e", "p1", second.token, a_slice(1, 2))
    clock.advance(9)
    assert wanted() == []
    store.commit_slice("e", "p0", first.token, last_slice(first, first=3))
    assert wanted() == [0]
    assert [task.run.index for task in store.forward_tasks(9, exclude=[("e", 0)], interval=10)] == []
    clock.advance(1)
    assert wanted() == [0, 1]
    # The clock was an hour ahead and is corrected.
    clock.advance(-3600)
    assert wanted() == [0, 1]


def test_marks_of_unknown_runs_are_refused_together_with_all_others(store: Store) -> None:
    planned(store, [[0]])
    lease(store)
    with pytest.raises(NotFound):
        store.mark_forwarded([Forwarded("e", 0, "a", new=True), Forwarded("e", 1, "b", new=True)])
    assert store.get_run("e", 0).mlflow_run_id == ""


def test_marks_of_an_experiment_that_was_purged_meanwhile_are_passed_over(store: Store) -> None:
    planned(store, [[0]])
    lease(store)
    assert store.mark_forwarded([Forwarded(name, 0, name, new=True) for name in ("e", "f")]) == []
    assert store.get_run("e", 0).mlflow_run_id == "e"


def test_the_first_to_note_a_runs_id_is_believed(store: Store) -> None:
    planned(store, [[0, 1]])
    store.commit_slice("e", "p0", lease(store).token, a_slice(1, 5))
    (segment,) = segment_ids(store)
    first = Forwarded("e", 0, "first", new=True)
    assert store.mark_forwarded([first]) == []
    late = Forwarded("e", 0, "late", new=True, segment=segment)
    other = Forwarded("e", 1, "other", new=True, segment=segment)
    assert store.mark_forwarded([late, other]) == [late]
    assert [store.get_run("e", index).mlflow_run_id for index in (0, 1)] == ["first", "other"]
    assert due(store) == [("e", 0)]  # Late marks do not count.


def test_runs_of_several_experiments_are_marked_together(store: Store) -> None:
    sent = []
    for name in ("b", "a"):
        planned(store, [[0, 1], [2]], name)
        store.cancel_experiment(name)
        sent += [
            Forwarded(name, index, f"{name}{index}", new=True, state=RunState.CANCELLED)
            for index in (0, 1, 2)
        ]
    assert store.mark_forwarded(sent[1:]) == []
    assert due(store) == [("b", 0)]
    assert [store.get_experiment(name).mlflow_pending_runs for name in ("a", "b")] == [0, 1]
    assert store.mark_forwarded([]) == []


def test_a_singleton_lease_has_one_owner(store: Store, clock: Clock) -> None:
    assert store.acquire_lease("forwarder", "a", 10)
    assert not store.acquire_lease("forwarder", "b", 10)
    assert store.acquire_lease("another", "b", 10)
    clock.advance(9)
    assert store.acquire_lease("forwarder", "a", 10)  # renewed
    clock.advance(9)
    assert not store.acquire_lease("forwarder", "b", 10)
    store.release_lease("forwarder", "b")  # another owner's lease
    assert not store.acquire_lease("forwarder", "b", 10)
    clock.advance(1)
    assert store.acquire_lease("forwarder", "b", 10)
    assert not store.acquire_lease("forwarder", "a", 10)
    store.release_lease("forwarder", "b")
    assert store.acquire_lease("forwarder", "a", 10)


def test_racing_for_a_singleton_lease(dsn: str) -> None:
    with open_store(dsn) as store, ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda n: store.acquire_lease("forwarder", f"owner-{n}", 60), range(16))) == 1


def test_everything_can_be_sent_again(store: Store) -> None:
    planned(store, [[0], [1], [2]])
    done, going = lease(store), lease(store)
    file = NewArtifact(0, "weights/final.safetensors", "l", 1, "a", 10)
    store.commit_slice("e", done.id, done.token, replace(last_slice(done), artifacts=(file,)))
    store.commit_slice("e", going.id, going.token, a_slice(1, 5))
    for index, segment in enumerate(segment_ids(store)):
        mark(store, index, f"run-{index}", segment=segment)
    files = (store.get_artifact("e", 0, file.path),)
    mark(store, 0, "run-0", files=files, state=RunState.SUCCEEDED)
    assert due(store) == []
    assert store.get_experiment("e").mlflow_pending_runs == 2
    before = told(store)

    assert store.resend() == 2

    assert due(store) == [("e", 0), ("e", 1)], "the third has never been sent"
    for task in store.forward_tasks(10):
        assert (task.run.mlflow_run_id, task.after_segment) == ("", 0)
        assert task.files == (files if task.run.index == 0 else ())
    assert store.get_experiment("e").mlflow_pending_runs == 3
    assert told(store) == before, "nothing has happened that a watch tells"
    assert store.resend() == 0
    # Marks of data that were being sent then do not count.
    newest = segment_ids(store)[0]
    sent = Forwarded("e", 0, "run-0", segment=newest, files=files, state=RunState.SUCCEEDED)
    assert store.mark_forwarded([sent]) == []
    assert store.get_run("e", 0).mlflow_run_id == ""
    mark(store, 0, "another", segment=newest, files=files, state=RunState.SUCCEEDED)
    assert due(store) == [("e", 1)]
    assert store.get_experiment("e").mlflow_pending_runs == 2

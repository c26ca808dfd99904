"""Failed runs are queued again: they go on from where they stopped, once per request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipserver.errors import InvalidRequest, NotFound, QuotaExceeded, RequestIdReused
from ipserver.store import Store
from ipserver.store.records.forwarding import Forwarded
from ipserver.store.records.packs import LeasedPack
from ipserver.store.records.runs import Failure
from ipserver.store.states import ExperimentState, FailureReason, RunState
from tests.ipserver.store.cases import (
    TTL,
    a_slice,
    last_slice,
    lease,
    new_experiment,
    new_pack,
    new_runs,
    planned,
    states,
    told,
)
from tests.ipserver.store.test_extending import extension

BROKE = Failure(FailureReason.TRAINING_ERROR, "it broke")
Q, R, S, F, D, P = (
    RunState.QUEUED,
    RunState.RUNNING,
    RunState.SUCCEEDED,
    RunState.FAILED,
    RunState.DIVERGED,
    RunState.PAUSED,
)


def fail(store: Store, pack: LeasedPack) -> None:
    store.end_attempt("e", pack.id, pack.token, failure=BROKE, retry=False)


def succeed(store: Store, pack: LeasedPack) -> None:
    store.commit_slice("e", pack.id, pack.token, last_slice(pack, first=pack.committed_steps + 1))


def half_failed(store: Store) -> None:
    """Runs 0 and 1 failed after step 4, 2 diverged at step 4, 3 succeeded."""
    planned(store, [[0, 1, 2], [3]])
    pack = lease(store)
    store.commit_slice("e", pack.id, pack.token, a_slice(1, 4, ended={2: D}))
    fail(store, pack)
    succeed(store, lease(store))
    assert states(store) == [F, F, D, S]


def test_failed_runs_go_on_where_they_stopped(store: Store) -> None:
    half_failed(store)
    sent = [
        Forwarded("e", run, f"m{run}", new=True, segment=10**6, state=states(store)[run]) for run in (0, 2, 3)
    ]
    store.mark_forwarded(sent)
    before = store.get_experiment("e")
    assert (before.state, before.mlflow_pending_runs) == (ExperimentState.FAILED, 1)

    record = store.retry_failed("e")
    assert (record.state, record.end_time) == (ExperimentState.RUNNING, None)
    assert (record.committed_steps, record.start_time) == (before.committed_steps, before.start_time)
    assert record.mlflow_pending_runs == 2, "0, which was complete, and 1"
    assert states(store) == [Q, Q, D, S]
    assert [(run.pack, run.failure, run.end_time) for run in store.list_runs("e", limit=2)] == [
        ("p0-1", None, None)
    ] * 2

    pack = lease(store)
    assert ([run.index for run in pack.runs], pack.committed_steps, pack.fruitless) == ([0, 1], 4, {})
    assert pack.token > store.attempts("e", 2)[-1].token, "its folders are its own"
    succeed(store, pack)
    assert states(store) == [S, S, D, S]
    record = store.get_experiment("e")
    assert (record.state, record.committed_steps) == (ExperimentState.SUCCEEDED, 3 * 4 + 2 * 6 + 10)
    assert [event["state"] for event in told(store) if set(event) == {"state"}] == [
        "QUEUED",
        "RUNNING",
        "FAILED",
        "RUNNING",
        "SUCCEEDED",
    ]
    history = store.segments("e", packs=["p0-1"], first_step=0, last_step=None)
    assert [(one.pack, one.first_step) for one in history] == [("p0", 1), ("p0-1", 5)]
    assert [attempt.end_reason for attempt in store.attempts("e", 0)] == [FailureReason.TRAINING_ERROR, None]
    due = {task.run.index: task.run.mlflow_run_id for task in store.forward_tasks(9)}
    assert due == {0: "m0", 1: ""}, "in the MLflow run that there is"


def test_one_run_is_retried_and_others_stay(store: Store) -> None:
    half_failed(store)
    assert store.retry_failed("e", index=1).state is ExperimentState.RUNNING
    assert states(store) == [F, Q, D, S]
    assert store.retry_failed("e", index=1).counts[Q] == 1, "it has not ended: nothing changes"
    for index, text in (
        (2, "run 2 is DIVERGED; the same numbers"),
        (3, "run 3 is SUCCEEDED; only failed runs"),
    ):
        with pytest.raises(InvalidRequest, match=text):
            store.retry_failed("e", index=index)
    for experiment, missing in (("e", 4), ("x", 0)):
        with pytest.raises(NotFound):
            store.retry_failed(experiment, index=missing)
    succeed(store, lease(store))
    assert store.get_experiment("e").state is ExperimentState.FAILED, "run 0 failed"
    store.retry_failed("e")
    assert store.get_run("e", 0).pack == "p0-2"


def test_what_fails_again_is_retried_again(store: Store) -> None:
    planned(store, [[0]])
    for name in ("p0", "p0-1", "p0-1-1"):
        pack = lease(store)
        assert (pack.id, pack.fruitless) == (name, {})
        fail(store, pack)
        assert store.get_experiment("e").state is ExperimentState.FAILED
        store.retry_failed("e")
    assert store.get_experiment("e").state is ExperimentState.QUEUED, (
        "it never committed, and waits as a whole"
    )
    succeed(store, lease(store))
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    again = store.retry_failed("e")
    assert again.state is ExperimentState.SUCCEEDED, "no run failed: nothing changes"


def test_the_same_request_retries_once(store: Store) -> None:
    half_failed(store)
    store.retry_failed("e", "r", "hash")
    pack = lease(store)
    fail(store, pack)
    assert store.retry_failed("e", "r", "hash").counts[F] == 2
    assert states(store) == [F, F, D, S]
    with pytest.raises(RequestIdReused, match="'r' was used"):
        store.retry_failed("e", "r", "another")
    store.retry_failed("e", "q", "hash")
    assert states(store) == [Q, Q, D, S]


@pytest.mark.parametrize(
    ("prepare", "told_why"),
    [
        (lambda store: store.delete_experiment("e", 9.0), "it is deleted; undelete it first"),
        (lambda store: store.cancel_experiment("e"), "it was asked to stop"),
    ],
)
def test_what_is_deleted_or_was_cancelled_is_not_retried(
    store: Store, prepare: Callable[[Store], object], told_why: str
) -> None:
    planned(store, [[0], [1]])
    fail(store, lease(store))
    if "deleted" in told_why:
        fail(store, lease(store))
    prepare(store)
    before = states(store)
    with pytest.raises(InvalidRequest, match=told_why):
        store.retry_failed("e")
    assert states(store) == before


def test_in_a_paused_experiment_retried_runs_wait_for_its_resumption(store: Store) -> None:
    planned(store, [[0], [1]])
    fail(store, lease(store))
    store.pause_experiment("e")
    store.retry_failed("e")
    assert states(store) == [P, P]
    assert store.get_experiment("e").state is ExperimentState.PAUSED
    assert store.waiting() == []
    store.resume_experiment("e")
    assert {lease(store).id, lease(store).id} == {"p0-1", "p1"}


def test_runs_that_could_not_be_planned_are_planned_again(store: Store) -> None:
    store.create_experiment(new_experiment(), new_runs(2))
    store.lease_unplanned("planner", TTL)
    store.refuse_plan("e", "planner", BROKE)
    assert states(store) == [F, F]
    store.retry_failed("e", index=0)
    assert states(store) == [Q, F]
    leased = store.lease_unplanned("planner", TTL)
    assert leased is not None
    assert [run.index for run in leased[1]] == [0]
    store.save_plan("e", "planner", [new_pack("p0", [0])])
    assert [run.index for run in lease(store).runs] == [0]


def test_an_extension_and_a_retry_go_together(store: Store) -> None:
    planned(store, [[0]])
    fail(store, lease(store))
    store.retry_failed("e")
    store.extend_experiment("e", extension(1, 1))
    assert store.lease_pack("e", "d", TTL) is None, "not before all is planned"
    store.lease_unplanned("planner", TTL)
    store.save_plan("e", "planner", [new_pack("p2", [1])])
    assert {lease(store).id, lease(store).id} == {"p0-1", "p2"}


def test_limits_count_what_waits_again(store: Store) -> None:
    half_failed(store)
    store.accounts.set_quota("default", "", "queued_runs", 1)
    with pytest.raises(QuotaExceeded, match="2 more are asked for"):
        store.retry_failed("e")
    assert states(store) == [F, F, D, S]
    assert store.retry_failed("e", index=0).counts[Q] == 1

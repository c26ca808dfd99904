"""Runs are added to an experiment: once, at the end, and with a plan of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ipserver.errors import Fenced, InvalidRequest, NotFound, RequestIdReused
from ipserver.store import Store
from ipserver.store.records.experiments import Extension
from ipserver.store.records.forwarding import Forwarded
from ipserver.store.records.packs import NewPack
from ipserver.store.records.runs import Failure
from ipserver.store.states import ExperimentState, FailureReason, RunState
from tests.ipserver.store.cases import (
    TTL,
    last_slice,
    lease,
    new_experiment,
    new_pack,
    new_runs,
    planned,
    states,
    told,
)

Q, R, S, P = RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED, RunState.PAUSED


def extension(first: int, count: int, **changes: Any) -> Extension:
    """Seeds for runs first, first + 1, ..., for an experiment whose spec has the hash "abc"."""
    runs = tuple(new_runs(first + count)[first:])
    values: dict[str, Any] = {
        "request_id": "",
        "request_hash": "hash",
        "extended_hash": "abc",
        "added": {"seeds": tuple(run.seed for run in runs)},
        "runs": runs,
        "spec": b"extended",
        "spec_hash": "abcd",
        "run_memory_bytes": 7_000_000_000,
        "warnings": ("large",),
    }
    return Extension(**values | changes)


def plan_rest(store: Store, *packs: NewPack, owner: str = "planner") -> None:
    leased = store.lease_unplanned(owner, TTL)
    assert leased is not None
    assert {run.index for run in leased[1]} == {index for pack in packs for index in pack.run_indices}
    store.save_plan("e", owner, list(packs))


def test_new_runs_follow_and_are_planned_beside_what_there_is(store: Store) -> None:
    planned(store, [[0, 1], [2]])
    first = lease(store)
    record = store.extend_experiment("e", extension(3, 2))
    assert record is not None
    assert (record.spec, record.spec_hash, record.run_memory_bytes, record.warnings) == (
        b"extended",
        "abcd",
        7_000_000_000,
        ("large",),
    )
    assert record.state is ExperimentState.RUNNING
    assert record.counts[Q] == 3
    assert record.mlflow_pending_runs == 5
    assert told(store)[-1] == {"seeds": [3, 4], "first_run_index": 3, "runs": 2}
    assert [run.pack for run in store.list_runs("e", limit=9)] == ["p0", "p0", "p1", "", ""]
    assert store.lease_pack("e", "d", TTL) is None, "not before the new runs are planned"
    assert store.packs_saved("e") == 2
    plan_rest(store, new_pack("p2", [3, 4]))
    assert [run.pack for run in store.list_runs("e", limit=9)] == ["p0", "p0", "p1", "p2", "p2"]

    store.commit_slice("e", first.id, first.token, last_slice(first))
    for _ in range(2):
        pack = lease(store)
        store.commit_slice("e", pack.id, pack.token, last_slice(pack))
    record = store.get_experiment("e")
    assert (record.state, record.committed_steps) == (ExperimentState.SUCCEEDED, 50)


@pytest.mark.parametrize("failed", [False, True])
def test_an_ended_experiment_goes_on_until_the_new_runs_have_ended(store: Store, failed: bool) -> None:
    planned(store, [[0]])
    pack = lease(store)
    if failed:
        failure = Failure(FailureReason.TRAINING_ERROR, "it broke")
        store.end_attempt("e", pack.id, pack.token, failure=failure, retry=False)
    else:
        store.commit_slice("e", pack.id, pack.token, last_slice(pack))
    ended = store.get_experiment("e")
    store.mark_forwarded([Forwarded("e", 0, "m0", new=True, segment=10**6, state=states(store)[0])])
    end = ExperimentState.FAILED if failed else ExperimentState.SUCCEEDED
    assert (ended.state, ended.end_time is not None) == (end, True)

    record = store.extend_experiment("e", extension(1, 1))
    assert record is not None
    assert (record.state, record.end_time) == (ExperimentState.RUNNING, None)
    assert (record.start_time, record.mlflow_pending_runs) == (ended.start_time, 1)
    assert not store.idle()
    plan_rest(store, new_pack("p1", [1]))
    pack = lease(store)
    store.commit_slice("e", pack.id, pack.token, last_slice(pack))
    assert store.get_experiment("e").state is end
    assert store.get_experiment("e").end_time is not None
    assert [event["state"] for event in told(store) if set(event) == {"state"}] == [
        "QUEUED",
        "RUNNING",
        end,
        "RUNNING",
        end,
    ]


def test_the_same_request_adds_nothing_twice(store: Store) -> None:
    planned(store, [[0]])
    asked = extension(1, 1, request_id="r")
    first = store.extend_experiment("e", asked)
    assert store.extend_experiment("e", asked) == first
    assert store.find_extension("r", "hash") == first
    assert store.find_extension("q", "hash") is None
    with pytest.raises(RequestIdReused, match="'r' was used"):
        store.find_extension("r", "another")
    with pytest.raises(RequestIdReused):
        store.extend_experiment("e", replace(asked, request_hash="another"))
    assert len(store.list_runs("e", limit=9)) == 2


def test_of_two_extensions_at_once_one_must_look_again(store: Store) -> None:
    planned(store, [[0]])
    assert store.extend_experiment("e", extension(1, 1)) is not None
    assert store.extend_experiment("e", extension(1, 1)) is None
    assert len(store.list_runs("e", limit=9)) == 2


def test_what_was_cancelled_is_not_extended(store: Store) -> None:
    planned(store, [[0], [1]])
    lease(store)
    for state in (ExperimentState.CANCELLING, ExperimentState.CANCELLED):
        assert store.cancel_experiment("e").state is ExperimentState.CANCELLING
        if state is ExperimentState.CANCELLED:
            store.settle("e", "p0", lease_token(store))
        with pytest.raises(InvalidRequest, match=f"it is {state}"):
            store.extend_experiment("e", extension(2, 1))
    assert len(states(store)) == 2
    with pytest.raises(NotFound):
        store.extend_experiment("x", extension(2, 1))


def lease_token(store: Store) -> int:
    return store.attempts("e", 0)[-1].token


def test_a_cancelled_experiment_that_failed_is_not_extended_either(store: Store) -> None:
    planned(store, [[0], [1]])
    pack = lease(store)
    failure = Failure(FailureReason.TRAINING_ERROR, "it broke")
    store.end_attempt("e", pack.id, pack.token, failure=failure, retry=False)
    assert store.cancel_experiment("e").state is ExperimentState.FAILED
    with pytest.raises(InvalidRequest, match="was asked to stop"):
        store.extend_experiment("e", extension(2, 1))


def test_a_paused_experiment_stays_paused(store: Store) -> None:
    planned(store, [[0]])
    store.pause_experiment("e")
    record = store.extend_experiment("e", extension(1, 1))
    assert record is not None
    assert record.state is ExperimentState.PAUSED
    assert states(store) == [P, P]
    assert store.lease_unplanned("d", TTL) is None
    store.resume_experiment("e")
    assert states(store) == [Q, Q]
    plan_rest(store, new_pack("p1", [1]))


def test_a_pause_that_came_too_late_is_forgotten(store: Store) -> None:
    """All packs ended before they could be given back: the experiment has ended, and is not paused."""
    planned(store, [[0]])
    pack = lease(store)
    store.pause_experiment("e")
    store.commit_slice("e", pack.id, pack.token, last_slice(pack))
    record = store.extend_experiment("e", extension(1, 1))
    assert record is not None
    assert record.state is ExperimentState.RUNNING
    assert states(store) == [S, Q]


def test_a_planner_that_does_not_know_of_the_new_runs_starts_again(store: Store) -> None:
    store.create_experiment(new_experiment(), new_runs(2))
    assert store.lease_unplanned("slow", TTL) is not None
    assert store.extend_experiment("e", extension(2, 1)) is not None
    with pytest.raises(Fenced):
        store.save_plan("e", "slow", [new_pack("p0", [0, 1])])
    with pytest.raises(Fenced):
        store.refuse_plan("e", "slow", Failure(FailureReason.TRAINING_ERROR, "it broke"))
    plan_rest(store, new_pack("p0", [0, 1, 2]), owner="quick")
    assert [run.pack for run in store.list_runs("e", limit=9)] == ["p0"] * 3
    assert store.get_experiment("e").state is ExperimentState.QUEUED

"""A pack that was too large continues as two halves; its history is neither lost nor doubled."""

from __future__ import annotations

import pytest

from ipserver.errors import Fenced
from ipserver.store import Store
from ipserver.store.records.runs import Failure
from ipserver.store.states import ExperimentState, FailureReason, RunState
from tests.ipserver.store.cases import a_slice, last_slice, lease, planned, states, told

TOO_LARGE = Failure(FailureReason.OUT_OF_MEMORY, "no room for 3 GiB")


def test_halves_wait_where_the_pack_stood(store: Store) -> None:
    planned(store, [[0, 1, 2, 3, 4]])
    pack = lease(store)
    store.commit_slice("e", pack.id, pack.token, a_slice(1, 4))

    store.split_pack("e", pack.id, pack.token, failure=TOO_LARGE)

    assert states(store) == [RunState.QUEUED] * 5
    first, second = lease(store), lease(store)
    assert [first.id, second.id] == ["p0-1", "p0-2"]
    assert [[run.index for run in part.runs] for part in (first, second)] == [[0, 1, 2], [3, 4]]
    assert [part.committed_steps for part in (first, second)] == [4, 4]
    assert [part.fruitless for part in (first, second)] == [{}, {}]
    # Nothing is written to folders in which the previous attempt may still write.
    assert [part.token for part in (first, second)] == [pack.token + 1] * 2
    assert sum(event["runs"] for event in told(store) if event.get("pack") in ("p0-1", "p0-2")) == 5


def test_their_history_is_one(store: Store) -> None:
    planned(store, [[0, 1, 2]])
    pack = lease(store)
    store.commit_slice("e", pack.id, pack.token, a_slice(1, 4))
    store.split_pack("e", pack.id, pack.token, failure=TOO_LARGE)
    for part in (lease(store), lease(store)):
        store.commit_slice("e", part.id, part.token, last_slice(part, first=5))

    assert states(store) == [RunState.SUCCEEDED] * 3
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    history = [
        (segment.pack, segment.first_step)
        for segment in store.segments("e", packs=["p0-1"], first_step=0, last_step=None)
    ]
    assert history == [("p0", 1), ("p0-1", 5)]
    attempts = store.attempts("e", 2)
    assert [attempt.end_reason for attempt in attempts] == [FailureReason.OUT_OF_MEMORY, None]
    tasks = store.forward_tasks(10, exclude=(), exclude_experiments=())
    assert [task.run.index for task in tasks] == [0, 1, 2]


def test_what_has_ended_stays_and_what_was_to_stop_stops(store: Store) -> None:
    planned(store, [[0, 1, 2, 3]])
    pack = lease(store)
    store.commit_slice("e", pack.id, pack.token, a_slice(1, 4, ended={0: RunState.DIVERGED}))
    store.cancel_run("e", 1)

    store.split_pack("e", pack.id, pack.token, failure=TOO_LARGE)

    assert states(store) == [RunState.DIVERGED, RunState.CANCELLED, RunState.QUEUED, RunState.QUEUED]
    assert [[run.index for run in lease(store).runs] for _ in range(2)] == [[2], [3]]


def test_only_under_the_current_token_and_only_if_there_is_something_to_divide(store: Store) -> None:
    planned(store, [[0, 1]])
    pack = lease(store)
    with pytest.raises(Fenced):
        store.split_pack("e", pack.id, pack.token + 1, failure=TOO_LARGE)
    store.cancel_run("e", 1)
    with pytest.raises(ValueError, match="1 runs left"):
        store.split_pack("e", pack.id, pack.token, failure=TOO_LARGE)
    assert states(store) == [RunState.RUNNING, RunState.CANCELLING]

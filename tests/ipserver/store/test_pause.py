"""Pause and resume in the store, and its protection of states and attempts against wrong calls."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ipserver.errors import NotFound
from ipserver.store import Store
from ipserver.store.records.runs import Failure
from ipserver.store.states import ExperimentState, FailureReason, PackState, RunState
from ipserver.store.tables import attempts, packs, runs
from ipserver.store.transactions.edits import editing
from ipserver.store.transitions import ForbiddenMove
from tests.ipserver.store.cases import (
    TTL,
    Clock,
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

P, Q, R = RunState.PAUSED, RunState.QUEUED, RunState.RUNNING


def test_what_waits_pauses_now_and_what_trains_when_it_is_given_back(store: Store) -> None:
    planned(store, [[0, 1], [2]])
    pack = lease(store)

    assert store.pause_experiment("e").state is ExperimentState.PAUSING
    assert states(store) == [R, R, P]
    assert store.lease_pack("e", "d", TTL) is None
    assert store.waiting() == []
    assert store.commit_slice("e", pack.id, pack.token, a_slice(1, 2)).pausing
    assert store.settle("e", pack.id, pack.token).pausing
    assert not store.idle()

    store.end_attempt("e", pack.id, pack.token, failure=None, retry=True)
    assert states(store) == [P, P, P]
    assert store.get_experiment("e").state is ExperimentState.PAUSED
    assert store.idle(), "nothing can be done for it now"

    assert store.resume_experiment("e").state is ExperimentState.QUEUED
    again = lease(store)
    assert (again.id, again.committed_steps, again.fruitless) == (pack.id, 2, {})
    assert [list(event.values()) for event in told(store) if "state" in event][2:] == [
        ["RUNNING"],
        ["PAUSED", [2]],
        ["PAUSING"],
        ["PAUSED", [0, 1]],
        ["PAUSED"],
        ["QUEUED", [0, 1, 2]],
        ["QUEUED"],
        ["RUNNING", [0, 1]],
        ["RUNNING"],
    ]


def test_asking_twice_changes_nothing(store: Store) -> None:
    planned(store, [[0]])
    first = store.pause_experiment("e")
    assert store.pause_experiment("e") == first
    resumed = store.resume_experiment("e")
    assert store.resume_experiment("e") == resumed
    assert resumed.sequence == first.sequence + 2
    with pytest.raises(NotFound):
        store.pause_experiment("nothing")
    with pytest.raises(NotFound):
        store.resume_experiment("nothing")


def test_what_has_ended_or_is_to_end_is_not_paused(store: Store) -> None:
    planned(store, [[0], [1]])
    pack = lease(store)
    cancelling = store.cancel_experiment("e")
    assert cancelling.state is ExperimentState.CANCELLING
    assert store.pause_experiment("e") == cancelling
    store.end_attempt("e", pack.id, pack.token, failure=None, retry=True)
    cancelled = store.get_experiment("e")
    assert cancelled.state is ExperimentState.CANCELLED
    assert store.pause_experiment("e") == store.resume_experiment("e") == cancelled


def test_a_run_or_all_of_them_can_be_cancelled_while_paused(store: Store) -> None:
    planned(store, [[0, 1]])
    store.pause_experiment("e")
    assert store.cancel_run("e", 0).state is RunState.CANCELLED
    assert store.get_experiment("e").state is ExperimentState.PAUSED
    assert store.cancel_experiment("e").state is ExperimentState.CANCELLED
    assert store.idle()


def test_a_lost_lease_or_worker_pauses_what_is_to_pause(store: Store, clock: Clock) -> None:
    planned(store, [[0], [1]])
    first, second = lease(store), lease(store)
    store.pause_experiment("e")
    store.end_attempt(
        "e", first.id, first.token, failure=Failure(FailureReason.WORKER_LOST, "killed"), retry=True
    )
    clock.advance(TTL)
    assert store.reap_expired() == 1
    assert states(store) == [P, P]
    assert second.token == store.attempts("e", 1)[-1].token


def test_what_ends_while_it_is_to_pause_has_ended(store: Store) -> None:
    planned(store, [[0]])
    pack = lease(store)
    store.pause_experiment("e")
    assert store.commit_slice("e", pack.id, pack.token, last_slice(pack)).done
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED


def test_a_pause_while_it_is_being_planned_loses_no_run(store: Store) -> None:
    store.create_experiment(new_experiment(), new_runs(2))
    assert store.lease_unplanned("d", TTL) is not None
    store.pause_experiment("e")
    store.save_plan("e", "d", [new_pack("p0", (0, 1))])
    assert states(store) == [P, P]
    store.resume_experiment("e")
    assert [run.index for run in lease(store).runs] == [0, 1]


def test_what_cannot_be_planned_fails_though_it_was_paused(store: Store) -> None:
    store.create_experiment(new_experiment(), new_runs(2))
    assert store.lease_unplanned("d", TTL) is not None
    store.pause_experiment("e")
    assert store.lease_unplanned("other", TTL) is None
    store.refuse_plan("e", "d", Failure(FailureReason.DATA_UNAVAILABLE, "no such dataset"))
    assert store.get_experiment("e").state is ExperimentState.FAILED


def test_no_node_is_missed_while_paused(store: Store, clock: Clock) -> None:
    planned(store, [[0]])
    failure = Failure(FailureReason.UNSCHEDULABLE, "too large")
    store.unplaceable("e", 60, failure)
    store.pause_experiment("e")
    clock.advance(1000)
    assert store.unplaceable("e", 60, failure) == 0
    store.resume_experiment("e")
    assert store.unplaceable("e", 60, failure) == 0
    assert states(store) == [Q]


def test_the_database_refuses_a_second_live_attempt(store: Store) -> None:
    planned(store, [[0]])
    pack = lease(store)
    with pytest.raises(sa.exc.IntegrityError), store.database.engine.begin() as connection:
        connection.execute(
            sa.insert(attempts).values(
                experiment="e", pack=pack.id, token=pack.token + 1, owner="x", first_step=0, start_time=0.0
            )
        )


def test_moves_that_there_are_not_are_refused(store: Store) -> None:
    """A defect that would reopen a terminal run writes nothing."""
    planned(store, [[0]])
    pack = lease(store)
    store.commit_slice("e", pack.id, pack.token, last_slice(pack))
    before = store.get_experiment("e")

    def revive(transaction, experiment):  # type: ignore[no-untyped-def]
        with editing(transaction, experiment) as edit:
            edit.move_packs(PackState.DONE, PackState.QUEUED, packs.c.id == pack.id)

    with pytest.raises(ForbiddenMove, match="a pack that is DONE cannot become QUEUED"):
        store.database.write(revive, "e")

    def reopen(transaction, experiment):  # type: ignore[no-untyped-def]
        transaction.connection.execute(sa.update(runs).values(state=RunState.RUNNING))
        with editing(transaction, experiment) as edit:
            edit._counts[RunState.SUCCEEDED] -= 1
            edit._counts[RunState.RUNNING] += 1

    with pytest.raises(ForbiddenMove, match="an experiment that is SUCCEEDED cannot become RUNNING"):
        store.database.write(reopen, "e")
    assert store.get_experiment("e") == before
    assert states(store) == [RunState.SUCCEEDED]

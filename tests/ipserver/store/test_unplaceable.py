"""Only experiments whose packs no node can hold end after a time, by the store's clock."""

from __future__ import annotations

import pytest

from ipserver.errors import NotFound
from ipserver.store import Store
from ipserver.store.records.runs import Failure
from ipserver.store.states import ExperimentState, FailureReason, RunState
from tests.ipserver.store.cases import Clock, lease, planned, states, told

TOO_LARGE = Failure(FailureReason.UNSCHEDULABLE, "it asks for 64 cpus")


def test_the_first_note_starts_the_clock_and_the_timeout_ends_the_packs(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1], [2]])
    began = clock.time

    assert store.unplaceable("e", 60, TOO_LARGE) == 0
    clock.advance(59)
    assert store.unplaceable("e", 60, TOO_LARGE) == 0
    assert store.get_experiment("e").unplaceable_since == began
    clock.advance(1)
    assert store.unplaceable("e", 60, TOO_LARGE) == 2

    assert states(store) == [RunState.FAILED] * 3
    assert store.get_run("e", 0).failure == TOO_LARGE
    assert store.get_experiment("e").state is ExperimentState.FAILED
    assert store.waiting() == []
    assert store.idle()
    assert told(store)[-2:] == [{"state": "FAILED", "runs": [0, 1, 2]}, {"state": "FAILED"}]
    # Again, by another dispatcher that does not know of it.
    clock.advance(100)
    assert store.unplaceable("e", 60, TOO_LARGE) == 0
    assert store.get_experiment("e").unplaceable_since is None


def test_a_node_that_can_hold_it_stops_the_clock(store: Store, clock: Clock) -> None:
    planned(store, [[0]])
    store.unplaceable("e", 60, TOO_LARGE)
    clock.advance(59)
    store.placeable("e")
    assert store.get_experiment("e").unplaceable_since is None
    clock.advance(1)

    assert store.unplaceable("e", 60, TOO_LARGE) == 0
    clock.advance(59)
    assert store.unplaceable("e", 60, TOO_LARGE) == 0
    assert states(store) == [RunState.QUEUED]


def test_packs_in_hand_are_left_alone(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1], [2]])
    pack = lease(store)
    store.unplaceable("e", 60, TOO_LARGE)
    clock.advance(60)

    assert store.unplaceable("e", 60, TOO_LARGE) == 1
    assert states(store) == [RunState.RUNNING, RunState.RUNNING, RunState.FAILED]
    assert store.renew([("e", pack.id, pack.token)], 15)


def test_an_experiment_that_there_is_not(store: Store) -> None:
    with pytest.raises(NotFound):
        store.unplaceable("nothing", 60, TOO_LARGE)
    with pytest.raises(NotFound):
        store.placeable("nothing")

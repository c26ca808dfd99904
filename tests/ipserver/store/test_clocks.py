"""A clock that was ahead and is corrected: its timestamps block nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipserver.store import Store
from ipserver.store.records.queueing import QueuePlace
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason, RunState
from ipserver.store.transactions.clocks import SLACK_SECONDS, held
from tests.ipserver.store.cases import (
    TTL,
    Clock,
    a_slice,
    last_slice,
    lease,
    new_experiment,
    new_runs,
    planned,
)

HOUR = 3600.0


def test_a_pack_of_a_dead_owner_is_free_at_once(store: Store, clock: Clock) -> None:
    planned(store, [range(2)])
    clock.advance(HOUR)
    dead = lease(store)
    store.commit_slice("e", dead.id, dead.token, a_slice(1, 3))
    assert store.renew({("e", dead.id, dead.token)}, TTL)
    clock.advance(-HOUR)  # it is killed, and the clock is corrected

    assert store.reap_expired() == 1

    again = store.lease_pack("e", "another", TTL)
    assert again is not None
    assert (again.token, again.committed_steps) == (dead.token + 1, 3)
    assert again.fruitless == {}, "what it had committed is no failure"
    store.commit_slice("e", again.id, again.token, last_slice(again, 4))
    assert store.get_run("e", 0).state is RunState.SUCCEEDED


def test_what_was_being_cancelled_is_cancelled(store: Store, clock: Clock) -> None:
    planned(store, [range(2)])
    clock.advance(HOUR)
    lease(store)
    assert store.cancel_experiment("e").state.value == "CANCELLING"
    clock.advance(-HOUR)

    store.reap_expired()

    assert store.get_experiment("e").state.value == "CANCELLED"


@pytest.mark.parametrize("back", [0.0, 0.9, -5.0])
def test_a_living_lease_survives_small_corrections(store: Store, clock: Clock, back: float) -> None:
    planned(store, [range(2)])
    lease(store)
    clock.advance(-back)
    assert store.reap_expired() == 0


def test_whoever_lives_renews_by_the_corrected_clock(store: Store, clock: Clock) -> None:
    planned(store, [range(2)])
    pack = lease(store)
    clock.advance(-HOUR)
    assert store.renew({("e", pack.id, pack.token)}, TTL)
    assert store.reap_expired() == 0
    clock.advance(TTL)
    assert store.reap_expired() == 1


def test_planning_is_taken_over(store: Store, clock: Clock) -> None:
    store.create_experiment(new_experiment(), new_runs(2))
    clock.advance(HOUR)
    assert store.lease_unplanned("dead", TTL) is not None
    clock.advance(-HOUR)

    taken = store.lease_unplanned("alive", TTL)

    assert taken is not None
    assert taken[0].id == "e"
    assert store.lease_unplanned("late", TTL) is None


def test_the_forwarders_place_is_taken_over(store: Store, clock: Clock) -> None:
    clock.advance(HOUR)
    assert store.acquire_lease("forwarder", "dead", 2 * TTL)
    clock.advance(-HOUR)

    assert store.acquire_lease("forwarder", "alive", 2 * TTL)
    assert not store.acquire_lease("forwarder", "late", 2 * TTL)
    clock.advance(2 * TTL)
    assert store.acquire_lease("forwarder", "late", 2 * TTL)


def test_owners_may_have_leases_of_different_lengths(store: Store, clock: Clock) -> None:
    """A lease ends by its own length, not by the reader's."""
    planned(store, [range(2)])
    assert store.lease_pack("e", "patient", 100 * TTL) is not None
    assert store.acquire_lease("forwarder", "patient", 100 * TTL)

    assert store.reap_expired() == 0
    assert not store.acquire_lease("forwarder", "hasty", TTL)


def test_what_no_node_can_hold_waits_from_now_on(store: Store, clock: Clock) -> None:
    planned(store, [range(2)])
    failure = Failure(FailureReason.UNSCHEDULABLE, "no node can hold it")
    clock.advance(HOUR)
    store.unplaceable("e", 60.0, failure)
    clock.advance(-HOUR)

    assert store.unplaceable("e", 60.0, failure) == 0
    clock.advance(59.0)
    assert store.unplaceable("e", 60.0, failure) == 0
    clock.advance(1.0)
    assert store.unplaceable("e", 60.0, failure) == 1


def test_leftovers_are_removed_a_while_after_the_correction(store: Store, clock: Clock) -> None:
    planned(store, [range(2)])
    clock.advance(10 * 365 * 24 * HOUR)  # a machine without a battery
    pack = lease(store)
    store.commit_slice("e", pack.id, pack.token, last_slice(pack))
    clock.advance(-10 * 365 * 24 * HOUR)

    assert store.unswept(600.0, 10) == []
    clock.advance(599.0)
    assert store.unswept(600.0, 10) == []
    clock.advance(1.0)
    assert [ended.pack for ended in store.unswept(600.0, 10)] == [pack.id]


def test_the_newest_time_is_seen_wherever_it_was_written(store: Store, clock: Clock) -> None:
    start = clock.time
    assert store.newest_time() is None
    store.create_experiment(new_experiment(), new_runs(2))
    assert store.newest_time() == start
    clock.advance(5)
    store.acquire_lease("forwarder", "f", TTL)
    assert store.newest_time() == start + 5


@given(
    now=st.floats(0, 1e6),
    written=st.floats(-1e6, 1e6),
    length=st.floats(0.1, 1e4),
)
def test_a_lease_holds_for_its_own_length_at_most(now: float, written: float, length: float) -> None:
    """For any error of the clock at the time of writing."""
    expires = now + written + length
    assert not held(expires, length, expires + 1e-3)
    if held(expires, length, now):
        assert 0 < expires - now <= length + SLACK_SECONDS + 1e-6  # rounding
    # It ends after its length on the correct clock, whatever its timestamp.
    assert not held(expires, length, now) or not held(expires, length, now + length + SLACK_SECONDS + 1e-3)


@pytest.mark.parametrize("jump", [HOUR, 365 * 24 * HOUR, -365 * 24 * HOUR])
def test_time_that_a_wrong_clock_measured_is_used_by_nobody(store: Store, clock: Clock, jump: float) -> None:
    """The clock jumps while a pack trains, and is corrected after its end."""
    store.accounts.set_quota("default", "", "core_hours", 1000)
    planned(store, [[0], [1], [2]], resources={"cpus": 60.0})
    honest = lease(store)
    clock.advance(60)
    store.commit_slice("e", honest.id, honest.token, last_slice(honest))
    odd = lease(store)
    clock.advance(jump)
    store.commit_slice("e", odd.id, odd.token, last_slice(odd))
    clock.advance(-jump)

    (use,) = store.accounts.uses("default", "")
    assert use.used == 1.0, "core-hours: sixty cores for a minute"
    assert store.pack_seconds("e") == {honest.id: (60.0, 1), odd.id: (0.0, 1)}


def test_time_that_a_wrong_clock_measured_tells_nothing_of_the_pace(store: Store, clock: Clock) -> None:
    planned(store, [[0], [1], [2], [3]])
    for jump in (0.0, 365 * 24 * HOUR):
        pack = lease(store)
        clock.advance(60 + jump)
        store.commit_slice("e", pack.id, pack.token, last_slice(pack))
        clock.advance(-jump)
    lease(store)  # so that something trains, and all others wait for it
    planned(store, [[0]], "asked")
    assert store.queue_place("asked") == QueuePlace(1, clock.time + 2 * 60)

"""Where an experiment stands in the queue, and when it is likely to start."""

from __future__ import annotations

import pytest

from ipserver.errors import NotFound
from ipserver.store import Store
from ipserver.store.records.queueing import QueuePlace
from tests.ipserver.store.cases import TTL, Clock, a_slice, last_slice, new_experiment, new_runs, planned


def waits(store: Store, clock: Clock, name: str, packs: int, priority: int = 0, project: str = "lab") -> None:
    """An experiment with so many packs that wait, younger than those before."""
    clock.advance(1)
    planned(store, [[n] for n in range(packs)], name, priority=priority, project=project)


def before(store: Store, name: str) -> int:
    place = store.queue_place(name)
    assert place is not None
    return place.packs_before


@pytest.fixture
def lab(store: Store) -> Store:
    for project in ("lab", "other", "third"):
        store.accounts.create_project(project)
    return store


def test_more_urgent_and_older_packs_come_first(lab: Store, clock: Clock) -> None:
    waits(lab, clock, "old", 3)
    waits(lab, clock, "asked", 2)
    waits(lab, clock, "young", 4)
    assert before(lab, "asked") == 3
    waits(lab, clock, "urgent", 5, priority=1)
    waits(lab, clock, "later", 7, priority=-1)
    assert before(lab, "asked") == 3 + 5
    assert before(lab, "urgent") == 0
    assert before(lab, "later") == 3 + 2 + 4 + 5
    lab.pause_experiment("old")
    assert before(lab, "asked") == 5
    assert lab.queue_place("old") is None


def test_projects_of_equal_priority_take_turns(lab: Store, clock: Clock) -> None:
    waits(lab, clock, "asked-1", 4)
    waits(lab, clock, "asked", 1)
    waits(lab, clock, "many", 100, project="other")
    waits(lab, clock, "few", 2, project="third")
    # By the time that four packs of "lab" train, four of "other" do, and both of "third".
    assert before(lab, "asked") == 4 + 4 + 2
    # "other" holds three packs already, so only one more of its packs comes before.
    for _ in range(3):
        assert lab.lease_pack("many", "dispatcher", 1e6) is not None
    assert before(lab, "asked") == 4 + 1 + 2
    # It will hold three, as soon as the others do: all packs of "third", and three of "asked-1".
    assert before(lab, "many") == 3 + 2


def test_the_pace_is_that_of_the_last_packs(lab: Store, clock: Clock) -> None:
    waits(lab, clock, "done", 4)
    waits(lab, clock, "asked", 1)
    assert lab.queue_place("asked") == QueuePlace(4, None)  # nothing trains, nothing has ended
    first, second = (lab.lease_pack("done", "dispatcher", 1e6) for _ in range(2))
    assert first is not None
    assert second is not None
    assert lab.queue_place("asked") == QueuePlace(2, None)
    clock.advance(60)
    lab.commit_slice("done", first.id, first.token, last_slice(first))
    third = lab.lease_pack("done", "dispatcher", 1e6)
    assert third is not None
    # A pack takes a minute and two train, so every 30 s one ends: one for the pack before it, one for it.
    assert lab.queue_place("asked") == QueuePlace(1, clock.time + 2 * 30)
    clock.advance(60)
    lab.commit_slice("done", second.id, second.token, last_slice(second))
    # Of 60 s and 120 s the mean is 90 s; one pack trains.
    assert lab.queue_place("asked") == QueuePlace(1, clock.time + 2 * 90)
    clock.advance(2 * 86_400)
    lab.commit_slice("done", third.id, third.token, a_slice(1, 5))
    assert lab.queue_place("asked") == QueuePlace(1, None)  # nothing ended within a day


def test_packs_of_lower_priority_make_room(lab: Store, clock: Clock) -> None:
    waits(lab, clock, "idle", 2, priority=-1)
    for _ in range(2):
        lab.lease_pack("idle", "dispatcher", 1e6)
    waits(lab, clock, "asked-1", 1)
    waits(lab, clock, "asked", 1)
    assert lab.queue_place("asked") == QueuePlace(1, clock.time)
    waits(lab, clock, "asked-3", 1)
    assert lab.queue_place("asked-3") == QueuePlace(2, None)


def test_what_does_not_wait_has_no_place(lab: Store, clock: Clock) -> None:
    lab.create_experiment(new_experiment("unplanned"), new_runs(1))
    assert lab.queue_place("unplanned") is None
    leased = lab.lease_unplanned("planner", TTL)
    assert leased is not None
    lab.cancel_experiment("unplanned")
    waits(lab, clock, "asked", 1)
    lab.lease_pack("asked", "dispatcher", 1e6)
    assert lab.queue_place("asked") is None
    with pytest.raises(NotFound):
        lab.queue_place("absent")

"""All dispatchers of a cluster decide by the same picture, and one at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from ipserver.store import Store, open_store
from ipserver.store.records.board import Board, Move
from ipserver.store.shapes import amounts_of, shape_of
from ipserver.store.transactions.board import _PAGE
from tests.ipserver.store.cases import TTL, Clock, last_slice, planned, told

ONE, TWO = shape_of({"cpus": 1}), shape_of({"cpus": 2})


def first(board: Board) -> Move:
    """Start the most urgent pack."""
    return Move((board.queued[0].experiment, "n0")) if board.queued else Move()


def names(store: Store) -> list[str]:
    return [it.experiment for it in store.board("c").queued]


def test_shapes_are_texts_of_amounts() -> None:
    assert shape_of({"gpus": 0, "cpus": 1}) == ONE
    assert dict(amounts_of(shape_of({"b c": 0.5, "cpus": 1}))) == {"b c": 0.5, "cpus": 1.0}


def test_what_waits_is_on_the_board_the_most_urgent_first(store: Store, clock: Clock) -> None:
    for name, priority in (("old", 0), ("young", 0), ("urgent", 5)):
        planned(store, [[0], [1]], name, priority=priority, resources={"cpus": 2})
        clock.advance(1)
    urgent, old, _ = store.board("c").queued

    assert names(store) == ["urgent", "old", "young"]
    assert (urgent.shape, urgent.priority, urgent.packs) == (TWO, 5, 2)
    store.pause_experiment("urgent")
    assert names(store) == ["old", "young"]
    store.resume_experiment("urgent")
    store.cancel_experiment("old")
    assert names(store) == ["urgent", "young"]
    assert old.create_time < clock()


def test_the_first_of_every_shape_is_there_however_many_wait(store: Store, clock: Clock) -> None:
    for number in range(_PAGE):
        planned(store, [[0]], f"many{number:02d}", priority=1)
    for name, cpus in (("second", 4), ("third", 4), ("last", 3)):
        planned(store, [[0]], name, resources={"cpus": cpus})
        clock.advance(1)

    assert names(store)[_PAGE:] == ["second", "last"]


def test_a_lease_says_where_its_pack_lies_until_it_ends(store: Store, clock: Clock) -> None:
    planned(store, [[0], [1]], priority=3)
    moved = store.place("c", "d0", TTL, first)
    assert moved.pack is not None and moved.node == "n0"
    (claim,) = store.board("c").claims

    assert claim.lease == ("e", "p0", moved.pack.token)
    assert (claim.owner, claim.shape, claim.priority, claim.node, claim.leaving) == (
        "d0",
        ONE,
        3,
        "n0",
        False,
    )
    assert store.board("another").claims == ()
    store.lie("e", "p0", claim.token, "n1")
    store.lie("e", "p0", claim.token - 1, "n2")
    assert store.board("c").claims[0].node == "n1"
    store.commit_slice("e", "p0", claim.token, last_slice(moved.pack))
    assert store.board("c").claims == ()
    store.place("c", "d0", TTL, first)
    clock.advance(TTL)
    assert store.board("c").claims == (), "a dead dispatcher's claim ends with its lease"
    store.reap_expired()
    assert store.board("c").queued[0].packs == 1


def test_a_decision_for_nothing_changes_nothing(store: Store) -> None:
    planned(store, [[0]])
    moved = store.place("c", "d0", TTL, lambda _: Move())

    assert (moved.decided, moved.pack) == (False, None)
    assert store.board("c").queued[0].packs == 1


def test_room_is_asked_for_once_and_everybody_sees_it(store: Store) -> None:
    planned(store, [[0]])
    moved = store.place("c", "d0", TTL, first)
    assert moved.pack is not None
    planned(store, [[0]], "urgent", priority=1)
    lease = ("e", "p0", moved.pack.token)

    for _ in range(2):
        asked = store.place("c", "d1", TTL, lambda _: Move(("urgent", "n0"), {lease: "urgent"}))
        assert asked.decided and asked.pack is None, "room is made first"

    assert store.board("c").claims[0].leaving
    notices = [event["message"] for event in told(store) if "message" in event]
    assert notices == ["pack p0 makes room for urgent of higher priority; it continues later"]
    store.end_attempt("e", "p0", moved.pack.token, failure=None, retry=True)
    again = store.place("c", "d1", TTL, lambda _: Move(("e", "n0")))
    assert again.pack is not None
    assert not store.board("c").claims[0].leaving


def test_those_who_decide_at_the_same_time_see_each_other(dsn: str) -> None:
    """Four dispatchers, one core: one of eight waiting packs is started."""
    with open_store(dsn) as store:
        planned(store, [[index] for index in range(8)])
    barrier = Barrier(4)

    def decide(board: Board) -> Move:
        return first(board) if not board.claims else Move()

    def place(owner: int) -> bool:
        with open_store(dsn) as mine:
            barrier.wait()
            return mine.place("c", f"d{owner}", TTL, decide).pack is not None

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(place, range(4))) == 1


@pytest.mark.parametrize("changed", ["planned", "split", "cancelled run"])
def test_waiting_packs_are_counted(store: Store, changed: str) -> None:
    planned(store, [[0], [1, 2]])
    if changed == "cancelled run":
        store.cancel_run("e", 0)
        assert store.board("c").queued[0].packs == 1
        store.cancel_run("e", 1)
        assert store.board("c").queued[0].packs == 1
        store.cancel_run("e", 2)
        assert store.board("c").queued == ()
    else:
        assert store.board("c").queued[0].packs == 2

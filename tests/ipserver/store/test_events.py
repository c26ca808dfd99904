"""Events are numbered in commit order: a reader that continues from a number misses none."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipserver.errors import NotFound
from ipserver.store import Store, open_store
from ipserver.store.transactions.edits import editing
from tests.ipserver.store.cases import lease, planned

WRITERS, EACH = 6, 20


def several(transaction, experiment, count):  # type: ignore[no-untyped-def]
    """Write a number of events in one transaction."""
    with editing(transaction, experiment) as edit:
        for number in range(count):
            edit.event("notice", {"message": f"{number} of {count}"})


def test_a_reader_sees_every_number_once_while_many_write(dsn: str) -> None:
    with open_store(dsn) as store, open_store(dsn) as other, ThreadPoolExecutor(WRITERS) as pool:
        planned(store, [[0], [1]])
        lease(store)
        before = store.heads(["e"])["e"]
        done = threading.Event()

        def write(writer: int) -> None:
            for turn in range(EACH):
                (store, other)[turn % 2].database.write(several, "e", 1 + (writer + turn) % 3)

        seen: list[int] = []

        def read() -> None:
            while True:
                last_look = done.is_set()
                # A page smaller than any watcher's, so that page boundaries fall everywhere.
                page = other.events("e", after=seen[-1] if seen else 0, limit=7)
                seen.extend(event.sequence for event in page)
                if last_look and not page:
                    return

        reader = threading.Thread(target=read)
        reader.start()
        list(pool.map(write, range(WRITERS)))
        done.set()
        reader.join(120)

        written = sum(1 + (writer + turn) % 3 for writer in range(WRITERS) for turn in range(EACH))
        assert seen == list(range(1, before + written + 1))
        assert store.heads(["e"]) == {"e": before + written}


def test_a_change_that_fails_leaves_no_gap(store: Store) -> None:
    planned(store, [[0]])
    head = store.heads(["e"])["e"]

    def failing(transaction, experiment):  # type: ignore[no-untyped-def]
        several(transaction, experiment, 3)
        raise RuntimeError("after the numbers were given")

    with pytest.raises(RuntimeError):
        store.database.write(failing, "e")
    store.notice("e", "the next one")
    (event,) = store.events("e", after=head, limit=10)
    assert (event.sequence, event.payload) == (head + 1, {"message": "the next one"})


def test_events_of_nothing(store: Store) -> None:
    with pytest.raises(NotFound):
        store.events("nothing", after=0, limit=1)
    assert store.heads(["nothing"]) == {}

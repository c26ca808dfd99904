"""Which packs may be swept and when, and which of their files are kept."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from ipserver.store import Store, tables
from ipserver.store.records.files import CheckpointRecord, NewArtifact
from ipserver.store.records.packs import EndedPack
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from tests.ipserver.store.cases import TTL, Clock, a_slice, last_slice, lease, planned

QUIET = 600.0


def weights(index: int, token: int = 1) -> NewArtifact:
    return NewArtifact(
        index,
        "weights/final.safetensors",
        f"e/weights/p0/{token}/r{index:05d}-final.safetensors",
        1,
        "ab",
        10,
    )


def test_a_pack_is_swept_once_it_has_been_quiet(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1], [2]])
    first = lease(store)
    assert store.unswept(QUIET, 10) == []
    store.commit_slice("e", "p0", first.token, replace(last_slice(first), artifacts=(weights(0),)))
    clock.advance(QUIET - 1)
    assert store.unswept(QUIET, 10) == []

    clock.advance(1)

    assert store.unswept(QUIET, 10) == [EndedPack("e", "p0", frozenset({weights(0).location}))]
    store.mark_swept("e", "p0")
    store.mark_swept("e", "p0")
    assert store.unswept(QUIET, 10) == []


def test_a_pack_that_was_cancelled_while_it_waited(store: Store, clock: Clock) -> None:
    planned(store, [[0], [1]])
    pack = lease(store)
    checkpoint = CheckpointRecord("e/checkpoints/p0/1/step-00000003.safetensors", 1, "ab", 3)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 3, checkpoint=checkpoint))
    store.end_attempt("e", "p0", pack.token, failure=None, retry=True)

    store.cancel_experiment("e")

    # p1 was never trained; files of p0 may still be written.
    assert [ended.pack for ended in store.unswept(QUIET, 10)] == ["p1"]
    clock.advance(QUIET)
    assert [ended.pack for ended in store.unswept(QUIET, 10)] == ["p0", "p1"]
    assert [ended.pack for ended in store.unswept(QUIET, 1)] == ["p0"]
    store.mark_swept("e", "p0")
    with store.database.engine.connect() as connection:
        assert connection.execute(sa.select(tables.checkpoints.c.path)).all() == []


def test_what_a_divided_pack_had_committed_still_counts(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1], [2]])
    pack = lease(store)
    both = (weights(0), weights(1))
    store.commit_slice("e", "p0", pack.token, replace(a_slice(1, 3), artifacts=both))
    store.split_pack("e", "p0", pack.token, failure=Failure(FailureReason.OUT_OF_MEMORY, "too large"))
    clock.advance(QUIET)

    named = frozenset(file.location for file in both)
    assert store.unswept(QUIET, 10) == [EndedPack("e", "p0", named)]


def test_a_pack_that_is_tried_again_is_left_alone(store: Store, clock: Clock) -> None:
    planned(store, [[0]])
    pack = lease(store)
    checkpoint = CheckpointRecord("e/checkpoints/p0/1/step-00000003.safetensors", 1, "ab", 3)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 3, checkpoint=checkpoint))
    lost = Failure(FailureReason.WORKER_LOST, "gone")
    store.end_attempt("e", "p0", pack.token, failure=lost, retry=True)
    clock.advance(10 * QUIET)

    assert store.unswept(QUIET, 10) == []
    store.mark_swept("e", "p0")

    again = store.lease_pack("e", "d", TTL)
    assert again is not None
    assert again.checkpoints == (checkpoint,)

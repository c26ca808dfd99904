"""What waits, what trains and what MLflow lacks, as numbers."""

from __future__ import annotations

from ipserver.store import Store
from ipserver.store.records.backlog import Queue, Unsent
from ipserver.store.records.cluster import CapacityReport
from ipserver.store.records.forwarding import Forwarded
from ipserver.store.shapes import shape_of
from ipserver.store.states import PackState
from tests.ipserver.store.cases import TTL, Clock, a_slice, lease, new_experiment, new_runs, planned


def test_an_empty_store(store: Store) -> None:
    waiting = {"default": 0}
    packs = {PackState.QUEUED: 0, PackState.LEASED: 0}
    assert store.queue() == Queue(waiting, unplanned=0, packs=packs, leased={}, totals={})
    assert store.unsent() == Unsent(0, 0.0)


def test_packs_are_counted_by_project_state_and_shape(store: Store, clock: Clock) -> None:
    store.accounts.create_project("lab")
    store.save_capacity(CapacityReport({"cpus": 8.0}, ()))
    planned(store, [[0], [1], [2]], "mine", priority=1, project="lab", resources={"cpus": 2})
    planned(store, [[0, 1]], "paused")
    store.pause_experiment("paused")
    store.create_experiment(new_experiment("new"), new_runs(1))
    lease(store)

    found = store.queue()
    assert found.waiting == {"default": 0, "lab": 2}
    assert found.unplanned == 1
    assert found.packs == {PackState.QUEUED: 3, PackState.LEASED: 1}
    assert found.leased == {shape_of({"cpus": 2}): 1}
    assert found.totals == {"cpus": 8.0}
    clock.advance(TTL + 1)
    assert store.queue().leased == {}, "the dispatcher is dead"


def test_the_age_of_what_mlflow_lacks(store: Store, clock: Clock) -> None:
    planned(store, [[0], [1]])
    for pause in (3.0, 4.0):
        pack = lease(store)
        store.commit_slice("e", pack.id, pack.token, a_slice(1, 2))
        clock.advance(pause)

    assert store.unsent() == Unsent(2, 7.0)
    newest = 1_000_000  # beyond every segment
    assert store.mark_forwarded([Forwarded("e", 0, "m", new=True, segment=newest)]) == []
    assert store.unsent() == Unsent(1, 4.0)

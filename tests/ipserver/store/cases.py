"""Small experiments for the tests of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipserver.store import Store
from ipserver.store.records.experiments import ExperimentRecord, NewExperiment
from ipserver.store.records.packs import LeasedPack, NewPack
from ipserver.store.records.runs import NewRun
from ipserver.store.records.slices import SliceCommit
from ipserver.store.states import RunState
from ipserver.store.summary import Summary

TTL = 15.0


class Clock:
    """A clock that advances only when told to."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


def new_experiment(id: str = "e", **changes: Any) -> NewExperiment:
    values: dict[str, Any] = {
        "id": id,
        "uid": f"uid-{id}",
        "request_id": "",
        "request_hash": "hash",
        "display_name": "An experiment",
        "labels": {},
        "priority": 0,
        "spec": b"\x00\xffspec",
        "spec_hash": "abc",
        "steps": 10,
        "run_memory_bytes": 5_000_000_000,
    }
    return NewExperiment(**values | changes)


def new_runs(count: int, **changes: Any) -> list[NewRun]:
    values: dict[str, Any] = {
        "parameterization": "mup",
        "hidden_layers": 2,
        "width": 64,
        "activation": "relu",
        "base_learning_rate": 0.1,
    }
    return [NewRun(**{"index": index, "seed": index} | values | changes) for index in range(count)]


def new_pack(id: str, indices: Sequence[int], steps: int = 10) -> NewPack:
    return NewPack(
        id=id,
        run_indices=tuple(indices),
        hidden_layers=2,
        width=64,
        activation="relu",
        steps=steps,
        memory_bytes=7,
    )


def planned(store: Store, packs: Sequence[Sequence[int]], id: str = "e", **changes: Any) -> ExperimentRecord:
    """An experiment whose runs 0, 1, ... are in the given packs "p0", "p1", ..."""
    steps = store.create_experiment(
        new_experiment(id, **changes), new_runs(sum(len(pack) for pack in packs))
    ).steps
    leased = store.lease_unplanned("planner", TTL)
    assert leased is not None
    assert leased[0].id == id
    store.save_plan(id, "planner", [new_pack(f"p{n}", pack, steps) for n, pack in enumerate(packs)])
    return store.get_experiment(id)


def lease(store: Store, owner: str = "dispatcher") -> LeasedPack:
    """Lease the next pack, which must exist."""
    pack = store.lease_pack(store.waiting()[0].id, owner, TTL)
    assert pack is not None
    return pack


def a_slice(first: int, last: int, **changes: Any) -> SliceCommit:
    """A slice with a metric segment."""
    values: dict[str, Any] = {"segment": f"{first}-{last}".encode(), "summaries": {}}
    return SliceCommit(first_step=first, last_step=last, **values | changes)


def last_slice(pack: LeasedPack, first: int = 1) -> SliceCommit:
    """The slice that ends all runs of a pack."""
    indices = [run.index for run in pack.runs]
    return a_slice(
        first,
        pack.steps,
        summaries={index: Summary(last_train_loss=0.5, final_test_accuracy=0.9) for index in indices},
        ended=dict.fromkeys(indices, RunState.SUCCEEDED),
        finished=True,
    )


def states(store: Store, experiment: str = "e") -> list[RunState]:
    """The state of every run, by index."""
    return [run.state for run in store.list_runs(experiment, limit=1000)]


def told(store: Store, experiment: str = "e") -> list[dict[str, object]]:
    """The payload of every event, in order."""
    return [dict(event.payload) for event in store.events(experiment, after=0, limit=10_000)]

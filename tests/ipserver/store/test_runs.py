"""Runs with their metrics, artifacts and filters."""

from __future__ import annotations

from typing import Any

import pytest

from ipserver.errors import NotFound
from ipserver.store import Store
from ipserver.store.records.files import NewArtifact
from ipserver.store.records.filters import ALL, Comparison, Filter, Junction, Negation, Operator
from ipserver.store.records.runs import Failure, NewRun
from ipserver.store.states import ExperimentState, FailureReason, RunState
from ipserver.store.summary import Summary
from tests.ipserver.store.cases import (
    Clock,
    a_slice,
    last_slice,
    lease,
    new_experiment,
    new_runs,
    planned,
    states,
    told,
)


def test_a_run_is_stored_as_given(store: Store) -> None:
    point = NewRun(
        4, 128, "gelu", index=0, parameterization="ip-llr", base_learning_rate=1e-3, seed=2**32 - 1
    )
    store.create_experiment(new_experiment(), [point])
    run = store.get_run("e", 0)
    assert (run.parameterization, run.hidden_layers, run.width, run.activation) == ("ip-llr", 4, 128, "gelu")
    assert (run.base_learning_rate, run.seed, run.steps, run.pack) == (1e-3, 2**32 - 1, 10, "")
    assert run.state is RunState.QUEUED
    assert run.summary == Summary()
    assert store.attempts("e", 0) == []
    with pytest.raises(NotFound, match="no run 1"):
        store.get_run("e", 1)


def test_pages_by_index(store: Store) -> None:
    store.create_experiment(new_experiment(), new_runs(7))
    assert [run.index for run in store.list_runs("e", limit=3)] == [0, 1, 2]
    assert [run.index for run in store.list_runs("e", limit=3, after=2)] == [3, 4, 5]
    assert [run.index for run in store.list_runs("e", limit=3, after=5)] == [6]


@pytest.mark.parametrize(
    ("field", "op", "value", "expected"),
    [
        ("index", ">=", 2, {2, 3}),
        ("parameterization", "=", "mup", {0, 1}),
        ("parameterization", "!=", "mup", {2, 3}),
        ("width", "<", 100, {0, 2}),
        ("width", "<=", 63.5, set()),
        ("hidden_layers", "=", 2, {0, 1, 2, 3}),
        ("activation", ">", "relu", {3}),
        ("base_learning_rate", "=", 0.1, {0, 1}),
        ("seed", ">", 2, {3}),
        ("pack", "=", "p0", {0, 1}),
        ("state", "=", "SUCCEEDED", {0, 1}),
        ("state", "!=", "SUCCEEDED", {2, 3}),
        ("final_test_accuracy", ">", 0.95, {1}),
        # Runs without a value match neither a comparison nor its opposite.
        ("final_test_accuracy", "<=", 0.95, {0}),
        ("final_test_loss", "!=", 0.5, {1}),
        ("best_test_accuracy", "=", 0.75, {0}),
        ("last_train_loss", "<", 1e9, {0}),
        # The clock of these tests stands at a million.
        ("end_time", "<=", 1_000_000.0, {0, 1}),
        ("start_time", "<", 1_000_000.0, set()),
        ("best_validation_accuracy", ">=", 0.5, {1}),
        ("best_validation_loss", "<", 1.0, {1}),
        ("test_accuracy_at_best_validation", "!=", 0.4, {1}),
        ("test_loss_at_best_validation", "=", 0.2, {1}),
    ],
)
def test_filters_of_runs(
    store: Store, field: str, op: Operator, value: str | float, expected: set[int]
) -> None:
    points = [
        NewRun(2, 64, "relu", index=0, parameterization="mup", base_learning_rate=0.1, seed=0),
        NewRun(2, 128, "relu", index=1, parameterization="mup", base_learning_rate=0.1, seed=1),
        NewRun(2, 64, "relu", index=2, parameterization="ntk", base_learning_rate=1.0, seed=2),
        NewRun(2, 128, "tanh", index=3, parameterization="ntk", base_learning_rate=1.0, seed=3),
    ]
    store.create_experiment(new_experiment(), points)
    _plan_and_finish_first_pack(store)
    term = Comparison(field, op, value)
    assert store.run_indices("e", term) == expected
    assert {run.index for run in store.list_runs("e", term, limit=10)} == expected
    assert store.run_indices("e", Negation(term)) == {0, 1, 2, 3} - expected
    nothing = Comparison("index", "<", 0)
    assert store.run_indices("e", Junction("AND", (term, nothing))) == frozenset()
    assert store.run_indices("e", Junction("OR", (term, nothing))) == expected


def _plan_and_finish_first_pack(store: Store) -> None:
    from tests.ipserver.store.cases import new_pack

    store.lease_unplanned("planner", 15)
    store.save_plan("e", "planner", [new_pack("p0", [0, 1]), new_pack("p1", [2, 3])])
    summaries = {
        0: Summary(0.25, 0.5, 0.75, 0.5, 0.9),
        1: Summary(
            final_test_loss=0.1,
            final_test_accuracy=0.96,
            best_validation_loss=0.3,
            best_validation_accuracy=0.9,
            best_validation_step=7,
            test_loss_at_best_validation=0.2,
            test_accuracy_at_best_validation=0.95,
        ),
    }
    ended = {0: RunState.SUCCEEDED, 1: RunState.SUCCEEDED}
    pack = lease(store)
    store.commit_slice(
        "e", pack.id, pack.token, a_slice(1, 10, summaries=summaries, ended=ended, finished=True)
    )


def test_an_unknown_field_is_refused(store: Store) -> None:
    store.create_experiment(new_experiment(), new_runs(1))
    with pytest.raises(ValueError, match="colour"):
        store.run_indices("e", Comparison("colour", "=", "red"))


def test_cancelling_runs_one_by_one(store: Store) -> None:
    planned(store, [[0, 1], [2]])
    pack = lease(store)
    assert store.cancel_run("e", 2).state is RunState.CANCELLED
    assert store.lease_pack("e", "other", 15) is None
    assert store.cancel_run("e", 0).state is RunState.CANCELLING
    before = told(store)
    assert store.cancel_run("e", 0).state is RunState.CANCELLING
    assert store.cancel_run("e", 2).state is RunState.CANCELLED
    assert told(store) == before  # Nothing changed, so there is no event.
    assert store.get_experiment("e").state is ExperimentState.RUNNING
    # A cancelling run is cancelled, although the slice says that it succeeded.
    result = store.commit_slice("e", pack.id, pack.token, last_slice(pack))
    assert result.done
    assert states(store) == [RunState.CANCELLED, RunState.SUCCEEDED, RunState.CANCELLED]
    assert store.get_experiment("e").state is ExperimentState.CANCELLED
    with pytest.raises(NotFound):
        store.cancel_run("e", 3)


def test_what_has_ended_is_final(store: Store) -> None:
    planned(store, [[0, 1]])
    pack = lease(store)
    first = a_slice(1, 3, ended={0: RunState.DIVERGED}, summaries={0: Summary(diverged_step=2)})
    assert store.commit_slice("e", "p0", pack.token, first).ended == {0}
    diverged = store.get_run("e", 0)
    assert (diverged.state, diverged.committed_steps) == (RunState.DIVERGED, 2)
    file = NewArtifact(0, "weights/final.safetensors", "e/0/w", 1, "a", 10)
    later = last_slice(pack, first=4)
    store.commit_slice("e", "p0", pack.token, a_slice(4, 10, **_parts(later), artifacts=(file,)))
    assert store.get_run("e", 0) == diverged
    assert store.artifacts("e", 0) == []
    record = store.get_experiment("e")
    assert (record.state, record.committed_steps) == (ExperimentState.SUCCEEDED, 12)


def _parts(commit: object) -> dict[str, object]:
    return {name: getattr(commit, name) for name in ("summaries", "ended", "finished")}


def test_summaries_and_rates_are_kept_until_replaced(store: Store) -> None:
    planned(store, [[0, 1]])
    pack = lease(store)
    first = a_slice(1, 2, summaries={0: Summary(last_train_loss=2.0)}, calibrated_rates={0: (0.5, 0.25)})
    store.commit_slice("e", "p0", pack.token, first)
    nan = Summary(last_train_loss=float("nan"), best_test_loss=1.5)
    store.commit_slice("e", "p0", pack.token, a_slice(3, 4, summaries={1: nan}))
    run, other = store.list_runs("e", limit=2)
    assert (run.summary, run.calibrated_rates) == (Summary(last_train_loss=2.0), (0.5, 0.25))
    assert (other.summary, other.calibrated_rates) == (Summary(best_test_loss=1.5), ())


def test_attempts_of_a_run_end_with_it(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1]])
    pack = lease(store, "first")
    begun = clock.time
    clock.advance(3)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 5, ended={0: RunState.DIVERGED}))
    clock.advance(1)
    store.end_attempt("e", "p0", pack.token, failure=Failure(FailureReason.WORKER_LOST, "gone"), retry=True)
    again = lease(store, "second")
    attempt, later = store.attempts("e", 1)
    assert (attempt.number, attempt.owner, attempt.first_step) == (1, "first", 0)
    assert (attempt.start_time, attempt.end_time) == (begun, begun + 4)
    assert attempt.end_reason is FailureReason.WORKER_LOST
    assert (later.number, later.token, later.owner, later.first_step) == (2, again.token, "second", 5)
    assert (later.end_time, later.end_reason) == (None, None)
    assert store.attempts("e", 0) == [attempt]


def test_segments_by_pack_and_step(store: Store) -> None:
    planned(store, [[0], [1]])
    first, second = lease(store), lease(store)
    for step in range(1, 10):  # Alternately, so that the commit order differs from the requested order.
        store.commit_slice("e", second.id, second.token, a_slice(step, step))
        store.commit_slice("e", first.id, first.token, a_slice(step, step))
    store.commit_slice("e", first.id, first.token, a_slice(10, 10, segment=b""))

    def found(packs: list[str] | None, first_step: int, last_step: int | None) -> list[tuple[str, int]]:
        segments = list(store.segments("e", packs=packs, first_step=first_step, last_step=last_step))
        assert all(
            segment.data == f"{segment.first_step}-{segment.last_step}".encode() for segment in segments
        )
        return [(segment.pack, segment.first_step) for segment in segments]

    assert found(None, 0, None) == [(pack, step) for pack in ("p0", "p1") for step in range(1, 10)]
    assert found(["p1"], 8, None) == [("p1", 8), ("p1", 9)]
    # The evaluation before step 3 is recorded at step 2, in the slice that begins with step 3.
    assert found(["p0"], 2, 2) == [("p0", 2), ("p0", 3)]
    assert found(["p0"], 0, 0) == [("p0", 1)]
    assert found([], 0, None) == []
    ids = [segment.id for segment in store.segments("e", packs=["p0"], first_step=0, last_step=None)]
    assert ids == sorted(ids)


def test_artifacts_by_path(store: Store, clock: Clock) -> None:
    planned(store, [[0]])
    pack = lease(store)
    files = (
        NewArtifact(0, "weights/initial.safetensors", "e/0/1/b", 3_000_000_000, "f" * 64, 0),
        NewArtifact(0, "weights/final.safetensors", "e/0/1/a", 2, "e" * 64, 10),
    )
    store.commit_slice("e", "p0", pack.token, a_slice(1, 9, artifacts=files))
    final, initial = store.artifacts("e", 0)
    assert (final.path, final.location, final.step) == ("weights/final.safetensors", "e/0/1/a", 10)
    assert (initial.size_bytes, initial.create_time) == (3_000_000_000, clock.time)
    assert store.get_artifact("e", 0, "weights/final.safetensors") == final
    with pytest.raises(NotFound, match="weights/none"):
        store.get_artifact("e", 0, "weights/none")
    replaced = NewArtifact(0, "weights/final.safetensors", "e/0/1/c", 4, "d" * 64, 10)
    store.commit_slice("e", "p0", pack.token, a_slice(10, 10, artifacts=(replaced,)))
    assert [file.location for file in store.artifacts("e", 0)] == ["e/0/1/c", "e/0/1/b"]


def test_several_runs_come_in_the_order_of_their_indices(store: Store) -> None:
    planned(store, [[0, 1], [2, 3]])
    assert [run.index for run in store.get_runs("e", [3, 0, 3])] == [3, 0, 3]
    assert store.get_runs("e", [2]) == [store.get_run("e", 2)]
    with pytest.raises(NotFound, match=r"^there are no runs 4, 9 in experiment 'e'; its 4 runs are 0 to 3$"):
        store.get_runs("e", [1, 4, 9])


def test_groups_of_runs(store: Store) -> None:
    points = [
        NewRun(2, width, "relu", index=index, parameterization=name, base_learning_rate=0.1, seed=seed)
        for index, (name, width, seed) in enumerate(
            [("b", 8, 0), ("a", 8, 0), ("b", 16, 0), ("a", 8, 1), ("b", 8, 1), ("c", 8, 0)]
        )
    ]
    store.create_experiment(new_experiment("e"), points)

    def found(*by: str, where: Filter = ALL, **page: int) -> list[list[tuple[Any, ...]]]:
        shown = ("index", "state", *by)
        groups = store.run_groups("e", by, shown, where, **{"limit": 9} | page)
        return [[row[0] for row in group] for group in groups]

    # In the order of their first runs, but those of a parameterization together.
    by = ("width", "parameterization")
    whole = [[0, 4], [2], [1, 3], [5]]
    assert found(*by) == whole
    assert [group for start in range(5) for group in found(*by, limit=1, start=start)] == whole
    assert found(*by, limit=2) == whole[:2]
    assert found(*by, limit=2, start=3) == whole[3:]
    assert found(*by, start=4) == []
    assert found("width") == [[0, 1, 3, 4, 5], [2]]
    assert found("seed", where=Comparison("index", ">", 1)) == [[2, 5], [3, 4]]
    assert found("seed", where=Comparison("index", ">", 9)) == []
    assert store.run_groups("e", ["width"], ["width", "state", "final_test_loss"], limit=1, start=1) == [
        [(16, RunState.QUEUED, None)]
    ]
    assert store.has_value("e", "width")
    assert not store.has_value("e", "width", Comparison("index", ">", 9))
    assert not store.has_value("e", "final_test_loss")
    for names in (["failure"], ["width"]), (["width"], ["width", "failure"]):
        with pytest.raises(ValueError, match="there is no field 'failure'"):
            store.run_groups("e", *names, limit=1)
    with pytest.raises(NotFound):
        store.run_groups("x", ["width"], ["width"], limit=1)

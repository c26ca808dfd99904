"""Creating, finding and cancelling experiments."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ipserver.errors import AlreadyExists, NotFound, RequestIdReused
from ipserver.store import Store, open_store
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.filters import ALL, Comparison, Junction, Negation, Operator
from ipserver.store.states import ExperimentState, RunState
from tests.ipserver.store.cases import Clock, a_slice, lease, new_experiment, new_runs, planned, states, told


def test_created_experiment_is_stored_as_given(store: Store, clock: Clock) -> None:
    new = new_experiment(labels={"team": "theory"}, warnings=("capacity unknown",), request_id="r-1")
    record = store.create_experiment(new, new_runs(3))
    assert record == store.get_experiment("e")
    assert (record.uid, record.spec, record.labels) == ("uid-e", b"\x00\xffspec", {"team": "theory"})
    assert record.warnings == ("capacity unknown",)
    assert record.run_memory_bytes == 5_000_000_000
    assert record.state is ExperimentState.QUEUED
    assert record.counts == dict.fromkeys(RunState, 0) | {RunState.QUEUED: 3}
    assert (record.committed_steps, record.mlflow_pending_runs, record.sequence) == (0, 3, 1)
    assert (record.create_time, record.start_time, record.end_time) == (clock.time, None, None)
    assert told(store) == [{"state": "QUEUED"}]


def test_several_experiments_come_in_the_order_of_their_ids(store: Store) -> None:
    for id in ("a", "b", "c"):
        store.create_experiment(new_experiment(id, priority=ord(id)), new_runs(1))
    assert [one.id for one in store.get_experiments(["c", "a", "c"])] == ["c", "a", "c"]
    assert store.get_experiments(["b"]) == [store.get_experiment("b")]
    assert store.get_experiments([]) == []
    with pytest.raises(NotFound, match=r"^there is no experiment 'x'$"):
        store.get_experiments(["a", "x"])
    urgent = Comparison("priority", ">", ord("a"))
    with pytest.raises(NotFound, match=r"^there are no experiments 'a', 'y'$"):
        store.get_experiments(["a", "c", "y", "a"], urgent)


def test_unknown_experiment_is_not_found(store: Store) -> None:
    for look in (
        lambda: store.get_experiment("none"),
        lambda: store.cancel_experiment("none"),
        lambda: store.get_run("none", 0),
        lambda: store.get_runs("none", [0]),
        lambda: store.list_runs("none", limit=1),
        lambda: store.run_indices("none", ALL),
        lambda: store.cancel_run("none", 0),
        lambda: store.attempts("none", 0),
        lambda: store.artifacts("none", 0),
        lambda: store.get_artifact("none", 0, "x"),
        lambda: store.events("none", after=0, limit=1),
        lambda: list(store.segments("none", packs=None, first_step=0, last_step=None)),
        lambda: store.notice("none", "hello"),
    ):
        with pytest.raises(NotFound, match="none"):
            look()


def test_id_is_taken_once(store: Store) -> None:
    store.create_experiment(new_experiment(), new_runs(1))
    with pytest.raises(AlreadyExists, match="'e' exists already"):
        store.create_experiment(new_experiment(uid="other"), new_runs(1))


def test_repeated_request_gives_the_first_answer(store: Store) -> None:
    first = store.create_experiment(new_experiment("a", request_id="r"), new_runs(2))
    again = store.create_experiment(new_experiment("b", request_id="r"), new_runs(2))
    assert again == first
    with pytest.raises(RequestIdReused, match="'r' was used"):
        store.create_experiment(new_experiment("b", request_id="r", request_hash="other"), new_runs(2))
    assert [record.id for record in store.list_experiments(limit=10)] == ["a"]


def test_a_failed_creation_leaves_nothing(store: Store) -> None:
    twice = [*new_runs(2), *new_runs(1)]
    with pytest.raises(Exception, match=r"(?i)unique"):
        store.create_experiment(new_experiment(), twice)
    assert store.list_experiments(limit=10) == []
    with pytest.raises(ValueError, match="no runs"):
        store.create_experiment(new_experiment(), [])


def test_racing_requests_create_one_experiment(dsn: str) -> None:
    stores = [open_store(dsn) for _ in range(2)]

    def create(n: int) -> ExperimentRecord:
        new = new_experiment(f"e{n}", uid=f"uid-{n}", request_id="same")
        return stores[n % 2].create_experiment(new, new_runs(50))

    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(create, range(16)))
    assert len({record.uid for record in records}) == 1
    assert len(stores[0].list_experiments(limit=100)) == 1
    for store in stores:
        store.close()


def test_racing_requests_with_one_id_and_other_bodies_create_one_experiment(dsn: str) -> None:
    def create(n: int) -> str:
        try:
            request = {"request_id": "same", "request_hash": str(n)} if n % 2 else {}
            return store.create_experiment(new_experiment(uid=str(n), **request), new_runs(5)).uid
        except AlreadyExists as error:
            return type(error).__name__

    with open_store(dsn) as store, ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(create, range(16)))
        assert sum(outcome.isdigit() for outcome in outcomes) == 1
        assert store.get_experiment("e").uid in outcomes


def test_pages_from_the_newest(store: Store, clock: Clock) -> None:
    for n in range(7):
        store.create_experiment(new_experiment(f"e{n}"), new_runs(1))
        clock.advance(n % 2)  # Some are created at the same time.
    seen: list[str] = []
    before = None
    while page := store.list_experiments(limit=3, before=before):
        seen += [record.id for record in page]
        before = (page[-1].create_time, page[-1].id)
    assert seen == ["e6", "e5", "e4", "e3", "e2", "e1", "e0"]


def test_filters_of_experiments(store: Store) -> None:
    store.create_experiment(new_experiment("a", priority=5, labels={"team": "x", "run-of": "7"}), new_runs(1))
    store.create_experiment(new_experiment("b", labels={"team": "y"}), new_runs(1))
    store.create_experiment(new_experiment("c"), new_runs(1))
    store.cancel_experiment("c")

    def found(*terms: Comparison) -> list[str]:
        return sorted(record.id for record in store.list_experiments(Junction("AND", terms), limit=10))

    assert found(Comparison("labels.team", "=", "x")) == ["a"]
    assert found(Comparison("labels.team", "!=", "x")) == ["b"]  # "c" has no such label
    assert found(Comparison("labels.run-of", ">=", "7")) == ["a"]
    assert found(Comparison("state", "=", "CANCELLED")) == ["c"]
    assert found(Comparison("state", "!=", "CANCELLED"), Comparison("priority", "<", 1)) == ["b"]
    assert found(Comparison("priority", "<", 4.5)) == ["b", "c"]
    assert found(Comparison("priority", "<", 10**30)) == ["a", "b", "c"]
    assert found(Comparison("experiment", ">", "a")) == ["b", "c"]
    absent = Negation(Comparison("labels.team", "=", "x"))
    assert found(absent) == ["b", "c"], "what has no such label has not that one"
    assert found(
        Junction("OR", (Comparison("labels.team", "=", "x"), Comparison("state", "=", "CANCELLED")))
    ) == [
        "a",
        "c",
    ]
    assert found(Junction("OR", ())) == []
    with pytest.raises(ValueError, match="colour"):
        found(Comparison("colour", "=", "red"))


def test_cancelling_ends_what_waits_and_asks_what_trains(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1], [2]])
    pack = lease(store)
    clock.advance(5)
    record = store.cancel_experiment("e")
    assert record.state is ExperimentState.CANCELLING
    assert states(store) == [RunState.CANCELLING, RunState.CANCELLING, RunState.CANCELLED]
    assert store.lease_pack("e", "other", 15) is None  # The pack of run 2 is done.
    result = store.commit_slice("e", pack.id, pack.token, a_slice(1, 4))
    assert result.done
    assert result.ended == {0, 1}
    record = store.get_experiment("e")
    assert (record.state, record.end_time) == (ExperimentState.CANCELLED, clock.time)
    assert store.get_run("e", 0).committed_steps == 4
    assert told(store)[-4:] == [
        {"state": "CANCELLING"},
        told(store)[-3] | {"pack": "p0", "committed_steps": 4, "steps": 10, "runs": 2},
        {"state": "CANCELLED", "runs": [0, 1]},
        {"state": "CANCELLED"},
    ]
    assert store.cancel_experiment("e") == record
    assert store.idle()


def test_cancelling_before_planning_ends_all(store: Store) -> None:
    store.create_experiment(new_experiment(), new_runs(2))
    assert not store.idle()
    assert store.cancel_experiment("e").state is ExperimentState.CANCELLED
    assert store.lease_unplanned("planner", 15) is None
    assert store.idle()


def test_twenty_thousand_runs_are_accepted_at_once(dsn: str) -> None:
    with open_store(dsn) as store:
        record = store.create_experiment(new_experiment(), new_runs(20_000))
        assert record.counts[RunState.QUEUED] == 20_000
        assert store.get_run("e", 19_999).seed == 19_999


def test_filters_by_time(store: Store, clock: Clock) -> None:
    began = clock.time
    for id in ("a", "b", "c"):
        store.create_experiment(new_experiment(id), new_runs(1))
        clock.advance(10)
    store.cancel_experiment("b")

    def found(field: str, op: Operator, seconds: float) -> list[str]:
        where = Comparison(field, op, began + seconds)
        return sorted(one.id for one in store.list_experiments(where, limit=9))

    assert found("create_time", ">=", 10) == ["b", "c"]
    assert found("create_time", "<", 10) == ["a"]
    # What has not ended matches no comparison of its end.
    assert found("end_time", ">", 0) == ["b"]
    assert found("start_time", ">", 0) == []

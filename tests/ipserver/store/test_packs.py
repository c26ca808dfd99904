"""Planning, leasing, committing, giving back."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa

from ipcore.catalogue import DatasetInfo
from ipserver.errors import DatasetChanged, Fenced, NotFound
from ipserver.store import Store, open_store, tables
from ipserver.store.records.cluster import CapacityReport, DatasetReport
from ipserver.store.records.files import CheckpointRecord, NewArtifact
from ipserver.store.records.runs import Failure
from ipserver.store.states import ExperimentState, FailureReason, PackState, RunState
from ipserver.store.summary import Summary
from tests.ipserver.store.cases import (
    TTL,
    Clock,
    a_slice,
    last_slice,
    lease,
    new_experiment,
    new_pack,
    new_runs,
    planned,
    states,
    told,
)

LOST = Failure(FailureReason.WORKER_LOST, "the worker is gone")
BROKEN = Failure(FailureReason.TRAINING_ERROR, "division by zero", "Traceback ...", "log \x00 line")


def test_experiments_are_planned_by_priority_then_age(store: Store, clock: Clock) -> None:
    for id, priority in (("old", 0), ("young", 0), ("urgent", 5)):
        store.create_experiment(new_experiment(id, priority=priority), new_runs(1))
        clock.advance(1)
    order = []
    while leased := store.lease_unplanned("planner", TTL):
        order.append(leased[0].id)
    assert order == ["urgent", "old", "young"]


def test_an_expired_planning_lease_is_taken_over(store: Store, clock: Clock) -> None:
    store.create_experiment(new_experiment(), new_runs(2))
    assert store.lease_unplanned("slow", TTL) is not None
    assert store.lease_unplanned("quick", TTL) is None
    clock.advance(TTL)
    leased = store.lease_unplanned("quick", TTL)
    assert leased is not None
    assert [run.index for run in leased[1]] == [0, 1]
    plan = [new_pack("p0", [0, 1])]
    with pytest.raises(Fenced, match="'slow'"):
        store.save_plan("e", "slow", plan)
    store.save_plan("e", "quick", plan)
    with pytest.raises(Fenced, match="already planned"):
        store.save_plan("e", "quick", plan)
    assert told(store)[1:] == [
        {
            "pack": "p0",
            "hidden_layers": 2,
            "width": 64,
            "activation": "relu",
            "runs": 2,
            "committed_steps": 0,
            "steps": 10,
        }
    ]
    assert store.get_run("e", 1).pack == "p0"


def test_runs_cancelled_before_planning_stay_out(store: Store) -> None:
    store.create_experiment(new_experiment(), new_runs(3))
    store.lease_unplanned("planner", TTL)
    store.cancel_run("e", 0)
    store.cancel_run("e", 2)
    store.save_plan("e", "planner", [new_pack("p0", [0, 1]), new_pack("p1", [2])])
    assert [store.get_run("e", index).pack for index in range(3)] == ["", "p0", ""]
    assert [run.index for run in lease(store).runs] == [1]
    assert store.lease_pack("e", "dispatcher", TTL) is None


@pytest.mark.parametrize(
    ("packs", "message"), [([[0, 1], [1, 2]], "in several packs \\[1\\]"), ([[0, 1]], "in none \\[2\\]")]
)
def test_a_plan_holds_every_run_once(store: Store, packs: list[list[int]], message: str) -> None:
    store.create_experiment(new_experiment(), new_runs(3))
    store.lease_unplanned("planner", TTL)
    with pytest.raises(ValueError, match=message):
        store.save_plan("e", "planner", [new_pack(f"p{n}", pack) for n, pack in enumerate(packs)])
    assert store.get_run("e", 0).pack == ""


def test_an_experiment_that_cannot_be_planned_fails(store: Store) -> None:
    store.create_experiment(new_experiment(), new_runs(3))
    store.lease_unplanned("planner", TTL)
    store.cancel_run("e", 0)
    failure = Failure(FailureReason.TRAINING_ERROR, "cannot be planned")
    with pytest.raises(Fenced, match="not leased to 'other'"):
        store.refuse_plan("e", "other", failure)

    store.refuse_plan("e", "planner", failure)

    assert [run.state for run in store.list_runs("e", limit=9)] == [
        RunState.CANCELLED,
        RunState.FAILED,
        RunState.FAILED,
    ]
    assert store.get_run("e", 1).failure == failure
    assert store.get_experiment("e").state is ExperimentState.FAILED
    assert store.idle()
    with pytest.raises(Fenced, match="already planned"):
        store.refuse_plan("e", "planner", failure)


def test_packs_are_leased_by_priority_age_and_id(store: Store, clock: Clock) -> None:
    for id, priority in (("old", 0), ("young", 0), ("urgent", 5)):
        planned(store, [[0], [1]], id, priority=priority)
        clock.advance(1)
    assert [experiment.id for experiment in store.waiting(2)] == ["urgent", "old"]
    assert [queued.experiment for queued in store.board("c").queued] == ["urgent", "old", "young"]
    order = []
    while waiting := store.waiting():
        pack = store.lease_pack(waiting[0].id, "dispatcher", TTL)
        assert pack is not None
        order.append((pack.experiment.id, pack.id))
    assert order == [(id, pack) for id in ("urgent", "old", "young") for pack in ("p0", "p1")]
    assert store.lease_pack("old", "dispatcher", TTL) is None


def test_a_lease_starts_runs_and_experiment(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1], [2]])
    clock.advance(7)
    pack = lease(store)
    assert (pack.id, pack.token, pack.attempt, pack.committed_steps, pack.steps) == ("p0", 1, 1, 0, 10)
    assert (pack.state, pack.memory_bytes, pack.fruitless, pack.checkpoints) == (
        PackState.LEASED,
        7,
        {},
        (),
    )
    assert [(run.index, run.state, run.start_time) for run in pack.runs] == [
        (0, RunState.RUNNING, clock.time),
        (1, RunState.RUNNING, clock.time),
    ]
    assert (pack.experiment.state, pack.experiment.start_time) == (ExperimentState.RUNNING, clock.time)
    assert told(store)[-2:] == [{"state": "RUNNING", "runs": [0, 1]}, {"state": "RUNNING"}]
    clock.advance(1)
    assert lease(store).experiment.start_time == clock.time - 1


def test_a_pack_from_start_to_end(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1]])
    pack = lease(store)
    result = store.commit_slice("e", "p0", pack.token, a_slice(1, 4))
    assert (result.ended, result.done, result.obsolete_checkpoints) == (frozenset(), False, ())
    assert store.get_experiment("e").committed_steps == 8
    clock.advance(9)
    result = store.commit_slice("e", "p0", pack.token, last_slice(pack, first=5))
    assert (result.ended, result.done) == ({0, 1}, True)
    record = store.get_experiment("e")
    assert (record.state, record.committed_steps) == (ExperimentState.SUCCEEDED, 20)
    assert record.end_time == clock.time
    run = store.get_run("e", 1)
    assert (run.state, run.committed_steps, run.end_time) == (RunState.SUCCEEDED, 10, clock.time)
    assert run.summary.final_test_accuracy == 0.9
    assert store.attempts("e", 0)[0].end_time == clock.time
    assert [event.sequence for event in store.events("e", after=0, limit=100)] == list(range(1, 9))
    assert [event.kind for event in store.events("e", after=4, limit=100)] == [
        "pack_progress",
        "pack_progress",
        "runs_state",
        "experiment_state",
    ]
    assert store.heads(["e", "none"]) == {"e": 8}
    assert store.idle()
    assert store.renew([("e", "p0", pack.token)], TTL) == set()
    with pytest.raises(Fenced, match="DONE"):
        store.commit_slice("e", "p0", pack.token, last_slice(pack))
    store.end_attempt("e", "p0", pack.token, failure=None, retry=True)  # It has ended, so nothing happens.
    assert states(store) == [RunState.SUCCEEDED] * 2


def test_a_slice_must_follow_the_committed_step(store: Store) -> None:
    planned(store, [[0]])
    pack = lease(store)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 3))
    before = (store.get_experiment("e"), store.get_run("e", 0))
    file = NewArtifact(0, "w", "w", 1, "a", 1)
    checkpoint = CheckpointRecord("c", 1, "a", 3)
    for first in (1, 3, 5):
        late = a_slice(first, 9, artifacts=(file,), checkpoint=checkpoint, summaries={0: Summary(9.0)})
        with pytest.raises(Fenced, match="has committed step 3"):
            store.commit_slice("e", "p0", pack.token, late)
    for last in (3, 11):
        with pytest.raises(ValueError, match="by step 10"):
            store.commit_slice("e", "p0", pack.token, a_slice(4, last))
    with pytest.raises(ValueError, match=r"runs \[0\] have not ended"):
        store.commit_slice("e", "p0", pack.token, a_slice(4, 10, finished=True))
    assert (store.get_experiment("e"), store.get_run("e", 0)) == before
    assert store.artifacts("e", 0) == []
    assert len(list(store.segments("e", packs=None, first_step=0, last_step=None))) == 1
    with pytest.raises(Fenced, match="no pack 'p9'"):
        store.commit_slice("e", "p9", 1, a_slice(1, 1))
    with pytest.raises(NotFound):
        store.commit_slice("none", "p0", 1, a_slice(1, 1))


def test_a_pack_may_end_with_nothing_trained(store: Store) -> None:
    planned(store, [[0]])
    pack = lease(store)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 10))
    end = a_slice(10, 10, segment=b"", ended={0: RunState.SUCCEEDED}, finished=True)
    assert store.commit_slice("e", "p0", pack.token, end).done
    assert store.get_experiment("e").committed_steps == 10
    assert len(list(store.segments("e", packs=None, first_step=0, last_step=None))) == 1


def test_two_checkpoints_are_kept(store: Store) -> None:
    planned(store, [[0]])
    pack = lease(store)
    obsolete = []
    for step in range(1, 5):
        checkpoint = CheckpointRecord(f"e/p0/{step}.pt", 10**10, "a" * 64, step)
        result = store.commit_slice("e", "p0", pack.token, a_slice(step, step, checkpoint=checkpoint))
        obsolete.append(result.obsolete_checkpoints)
    assert obsolete == [(), (), ("e/p0/1.pt",), ("e/p0/2.pt",)]
    store.end_attempt("e", "p0", pack.token, failure=LOST, retry=True)
    again = lease(store)
    assert [checkpoint.step for checkpoint in again.checkpoints] == [4, 3]
    assert again.checkpoints[0] == CheckpointRecord("e/p0/4.pt", 10**10, "a" * 64, 4)
    assert (again.committed_steps, again.fruitless, again.token) == (4, {}, 2)


def test_a_retried_pack_waits_again(store: Store) -> None:
    planned(store, [[0, 1, 2]])
    pack = lease(store)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 5, ended={2: RunState.DIVERGED}))
    store.cancel_run("e", 1)
    store.end_attempt("e", "p0", pack.token, failure=LOST, retry=True)
    assert states(store) == [RunState.QUEUED, RunState.CANCELLED, RunState.DIVERGED]
    assert store.get_run("e", 0).failure is None
    with pytest.raises(Fenced):
        store.end_attempt("e", "p0", pack.token, failure=LOST, retry=True)
    again = lease(store)
    assert [run.state for run in again.runs] == [RunState.RUNNING, RunState.CANCELLED, RunState.DIVERGED]
    assert again.token > pack.token
    with pytest.raises(Fenced, match="under token 2"):
        store.commit_slice("e", "p0", pack.token, a_slice(6, 7))
    store.commit_slice("e", "p0", again.token, a_slice(6, 7))


def test_a_retried_pack_without_runs_to_train_is_done(store: Store) -> None:
    planned(store, [[0]])
    pack = lease(store)
    store.cancel_run("e", 0)
    store.end_attempt("e", "p0", pack.token, failure=LOST, retry=True)
    assert store.idle()
    assert store.get_experiment("e").state is ExperimentState.CANCELLED


def test_a_failure_ends_the_unfinished_runs(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1, 2], [3]])
    pack = lease(store)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 5, ended={2: RunState.DIVERGED}))
    store.cancel_run("e", 1)
    with pytest.raises(ValueError, match="pass retry or a failure"):
        store.end_attempt("e", "p0", pack.token, failure=None, retry=False)
    store.end_attempt("e", "p0", pack.token, failure=BROKEN, retry=False)
    assert states(store) == [RunState.FAILED, RunState.CANCELLED, RunState.DIVERGED, RunState.QUEUED]
    run = store.get_run("e", 0)
    assert (run.failure, run.end_time) == (BROKEN, clock.time)
    assert store.attempts("e", 0)[0].end_reason is FailureReason.TRAINING_ERROR
    other = lease(store)
    assert other.id == "p1"
    store.commit_slice("e", "p1", other.token, last_slice(other))
    assert store.get_experiment("e").state is ExperimentState.FAILED


def test_an_expired_lease_is_taken_back(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1], [2]])
    lost, kept = lease(store, "dead"), lease(store, "alive")
    store.cancel_run("e", 1)
    clock.advance(TTL - 1)
    assert store.reap_expired() == 0
    assert store.renew([("e", "p1", kept.token)], TTL) == {("e", "p1", kept.token)}
    clock.advance(1)
    assert store.reap_expired() == 1
    assert states(store) == [RunState.QUEUED, RunState.CANCELLED, RunState.RUNNING]
    assert store.attempts("e", 0)[0].end_reason is FailureReason.LEASE_LOST
    assert store.renew([("e", "p0", lost.token)], TTL) == set()
    # The zombie is fenced both before and after another dispatcher takes the pack.
    with pytest.raises(Fenced):
        store.commit_slice("e", "p0", lost.token, a_slice(1, 1))
    again = lease(store, "alive")
    assert (again.id, again.fruitless) == ("p0", {FailureReason.LEASE_LOST: 1})
    with pytest.raises(Fenced):
        store.commit_slice("e", "p0", lost.token, a_slice(1, 1))
    with pytest.raises(Fenced):
        store.end_attempt("e", "p0", lost.token, failure=None, retry=True)
    assert store.get_experiment("e").committed_steps == 0


def test_an_expired_lease_that_nobody_took_back_is_good(store: Store, clock: Clock) -> None:
    planned(store, [[0]])
    pack = lease(store)
    clock.advance(10 * TTL)
    assert store.renew([("e", "p0", pack.token)], TTL) == {("e", "p0", pack.token)}
    clock.advance(10 * TTL)
    store.commit_slice("e", "p0", pack.token, a_slice(1, 1))


def test_racing_owners_never_share_a_pack(dsn: str) -> None:
    with open_store(dsn) as store:
        planned(store, [[n] for n in range(24)])
    barrier = Barrier(4)

    def work(owner: str) -> list[str]:
        mine = []
        with open_store(dsn) as store:
            barrier.wait()
            while pack := store.lease_pack("e", owner, TTL):
                mine.append(pack.id)
                if len(mine) % 2:
                    store.commit_slice("e", pack.id, pack.token, last_slice(pack))
        return mine

    with ThreadPoolExecutor(4) as pool:
        taken = Counter(pack for mine in pool.map(work, "abcd") for pack in mine)
    assert taken == Counter(f"p{n}" for n in range(24))
    with open_store(dsn) as store:
        events = store.events("e", after=0, limit=1000)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        record = store.get_experiment("e")
        assert record.counts[RunState.RUNNING] + record.counts[RunState.SUCCEEDED] == 24


def test_of_two_racing_commits_of_one_slice_one_counts(dsn: str) -> None:
    with open_store(dsn) as store:
        planned(store, [[0, 1]])
        pack = lease(store)
        barrier = Barrier(6)

        def commit(_: int) -> bool:
            barrier.wait()
            try:
                store.commit_slice("e", "p0", pack.token, a_slice(1, 5))
            except Fenced:
                return False
            return True

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(commit, range(6))) == 1
        assert store.get_experiment("e").committed_steps == 10
        assert len(list(store.segments("e", packs=None, first_step=0, last_step=None))) == 1


def test_commits_cancellation_and_reaping_at_the_same_time(dsn: str) -> None:
    with open_store(dsn) as store:
        planned(store, [[2 * n, 2 * n + 1] for n in range(8)], steps=200)

        def train(n: int) -> None:
            pack = lease(store, f"owner-{n}")
            for step in range(pack.committed_steps + 1, 11):
                if store.commit_slice("e", pack.id, pack.token, a_slice(step, step)).done:
                    return
                held = ("e", pack.id, pack.token)
                assert store.renew([held], TTL) == {held}
            store.end_attempt("e", pack.id, pack.token, failure=LOST, retry=True)

        def disturb(n: int) -> None:
            for k in range(8):
                store.cancel_run("e", (5 * n + k) % 16)
                store.reap_expired()
                store.notice("e", f"{n}.{k}")

        with ThreadPoolExecutor(6) as pool:
            futures = [pool.submit(train, n) for n in range(4)] + [pool.submit(disturb, n) for n in range(2)]
            for future in futures:
                future.result()
        record = store.cancel_experiment("e")
        assert record.state is ExperimentState.CANCELLED
        runs = store.list_runs("e", limit=100)
        assert record.committed_steps == sum(run.committed_steps for run in runs)
        assert record.counts == dict.fromkeys(RunState, 0) | Counter(run.state for run in runs)
        events = store.events("e", after=0, limit=10_000)
        assert [event.sequence for event in events] == list(range(1, record.sequence + 1))
        assert events[-1].payload == {"state": "CANCELLED"}


def test_leases_end_by_the_databases_own_clock(dsn: str) -> None:
    with open_store(dsn) as store:
        planned(store, [[0]])
        assert store.lease_pack("e", "brief", -0.001) is not None
        assert store.reap_expired() == 1
        assert store.lease_pack("e", "long", 60) is not None
        assert store.reap_expired() == 0


def test_notices_are_events(store: Store, clock: Clock) -> None:
    planned(store, [[0]])
    store.notice("e", "waiting for 4 gpus, 2 there")
    (event,) = store.events("e", after=2, limit=10)
    assert (event.sequence, event.time, event.kind) == (3, clock.time, "notice")
    assert event.payload == {"message": "waiting for 4 gpus, 2 there"}
    assert store.events("e", after=3, limit=10) == []
    assert [event.sequence for event in store.events("e", after=0, limit=2)] == [1, 2]


def test_a_capacity_report_keeps_what_is_known_of_datasets(store: Store, clock: Clock) -> None:
    info = DatasetInfo(
        "registered:mine", "registered file mine.npz", 3, 0, 40, 10, target_dim=2, note="a note"
    )
    datasets = (DatasetReport("registered:mine", "", info), DatasetReport("registered:torn", "is damaged"))
    store.save_capacity(CapacityReport({"cpus": 2.0}, datasets))
    assert store.capacity() == CapacityReport({"cpus": 2.0}, datasets, clock.time)


def test_a_report_of_before_sizes_were_reported_is_read(store: Store) -> None:
    old = {"resources": {"cpus": 2.0}, "datasets": [["digits", ""], ["mnist", "no such folder"]]}
    insert = sa.insert(tables.capacity).values(id=1, report=old, time=5.0)
    store.database.write(lambda transaction: transaction.connection.execute(insert))
    found = store.capacity()
    assert found is not None
    assert found.datasets == (DatasetReport("digits", ""), DatasetReport("mnist", "no such folder"))


def test_the_newest_capacity_report_counts(store: Store, clock: Clock) -> None:
    assert store.capacity() is None
    for gpus in (0.0, 4.0):
        clock.advance(1)
        store.save_capacity(CapacityReport({"gpus": gpus}, (DatasetReport("mnist", "no such folder"),)))
    assert store.capacity() == CapacityReport(
        {"gpus": 4.0}, (DatasetReport("mnist", "no such folder"),), clock.time
    )


def test_settling_ends_what_was_cancelled_under_the_current_token_alone(store: Store, clock: Clock) -> None:
    planned(store, [[0, 1]])
    first = lease(store)
    store.commit_slice("e", "p0", first.token, a_slice(1, 5))
    store.cancel_run("e", 0)
    checkpoint = CheckpointRecord("e/p0/3", 10, "a" * 64, 3)

    result = store.settle("e", "p0", first.token, checkpoint)

    assert (result.ended, result.done) == ({0}, False)
    assert store.settle("e", "p0", first.token) == result
    assert states(store) == [RunState.CANCELLED, RunState.RUNNING]
    clock.advance(TTL)
    store.reap_expired()
    with pytest.raises(Fenced):
        store.settle("e", "p0", first.token)
    again = lease(store)
    assert (again.committed_steps, again.checkpoints) == (5, (checkpoint,))
    store.cancel_experiment("e")
    assert store.settle("e", "p0", again.token).done
    with pytest.raises(Fenced):
        store.settle("e", "p0", again.token)


def test_only_attempts_without_a_commit_count(store: Store) -> None:
    planned(store, [[0]])
    oom = Failure(FailureReason.OUT_OF_MEMORY, "too much")
    for failure in (LOST, None, LOST, oom):
        store.end_attempt("e", "p0", lease(store).token, failure=failure, retry=True)
    pack = lease(store)
    assert pack.fruitless == {FailureReason.WORKER_LOST: 2, FailureReason.OUT_OF_MEMORY: 1}
    store.commit_slice("e", "p0", pack.token, a_slice(1, 1))
    store.end_attempt("e", "p0", pack.token, failure=LOST, retry=True)
    again = lease(store)
    assert again.fruitless == {}
    store.end_attempt("e", "p0", again.token, failure=LOST, retry=True)
    assert lease(store).fruitless == {FailureReason.WORKER_LOST: 1}


def test_all_steps_are_trained_on_the_same_numbers(store: Store) -> None:
    planned(store, [[0], [1]])
    one, two = lease(store), lease(store)
    store.commit_slice("e", "p0", one.token, a_slice(1, 1))
    assert store.get_experiment("e").dataset_sha256 is None
    store.commit_slice("e", "p0", one.token, a_slice(2, 2, dataset_sha256="aa"))
    assert store.get_experiment("e").dataset_sha256 == "aa"

    with pytest.raises(DatasetChanged, match=r"SHA-256 aa .* now have bb"):
        store.commit_slice("e", "p1", two.token, a_slice(1, 1, dataset_sha256="bb"))

    assert store.get_run("e", 1).committed_steps == 0
    store.commit_slice("e", "p1", two.token, a_slice(1, 1, dataset_sha256="aa"))

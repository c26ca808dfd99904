"""The dispatcher with real training in threads and a real store: from QUEUED to the end, despite failures."""

import hashlib
import shutil
import threading
import time

import pytest

from ipcore import Network, evaluate, load_dataset
from ipserver.errors import ClusterLost, StoreUnavailable
from ipserver.scheduling import assembly, hands
from ipserver.scheduling import dispatcher as dispatcher_module
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import open_store
from ipserver.store.states import ExperimentState, FailureReason, RunState
from ipserver.store.transactions import board, unplaceable
from ipserver.workers.executor import worker_lost
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import Clock, clocked, ended, final_weights, notices, points, run_until
from tests.ipserver.support import settings_in, small_spec, store_in, submit


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path, checkpoint_seconds=1e9)


@pytest.fixture
def store(settings):
    return store_in(settings)


@pytest.fixture
def executor():
    executor = LocalExecutor()
    yield executor
    executor.close()


def test_an_experiment_trains_to_its_end(store, settings, executor):
    submit(store, small_spec(record={"weights": "initial_and_final"}))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    experiment = store.get_experiment("e")
    assert experiment.state is ExperimentState.SUCCEEDED
    assert experiment.committed_steps == 4 * 20
    for run in store.list_runs("e", limit=10):
        assert run.state is RunState.SUCCEEDED
        assert run.committed_steps == 20
        assert run.summary.final_test_accuracy is not None
        paths = [artifact.path for artifact in store.artifacts("e", run.index)]
        assert paths == ["weights/final.safetensors", "weights/initial.safetensors"]
    recorded = points(store)
    steps = sorted(step for run, metric, step in recorded if run == 0 and metric == "train_loss")
    assert steps == [1, 10, 20]
    assert {step for _, metric, step in recorded if metric == "test_loss"} == {0, 20}


def test_final_weights_give_the_recorded_metrics_exactly(store, settings, executor):
    submit(store, small_spec())
    run_until(Dispatcher(store, executor, settings, "d"), ended(store))
    test = load_dataset("digits").test

    for run in store.list_runs("e", limit=10):
        artifact = store.get_artifact("e", run.index, "weights/final.safetensors")
        path = settings.artifact_root.folder / artifact.location
        assert hashlib.sha256(path.read_bytes()).hexdigest() == artifact.sha256
        measured = evaluate(Network.load(path), test)
        assert measured.loss == run.summary.final_test_loss == points(store)[run.index, "test_loss", 20]
        assert measured.accuracy == run.summary.final_test_accuracy


def test_calibrated_rates_are_kept(store, settings, executor):
    grid = {"parameterizations": [{"preset": "ip-llr", "calibration": {}}, {"preset": "mup"}]}
    submit(store, small_spec(grid=grid))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    runs = store.list_runs("e", limit=10)
    assert [len(run.calibrated_rates) for run in runs] == [3, 3, 0, 0]
    assert all(run.calibrated_rates[0] == 0.1 for run in runs[:2])


def test_a_diverging_run_is_a_result(store, settings, executor):
    grid = {"parameterizations": [{"preset": "sp", "base_learning_rates": [0.1, 1e30]}], "seeds": [0]}
    submit(store, small_spec(grid=grid))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    good, bad = store.list_runs("e", limit=10)
    assert good.state is RunState.SUCCEEDED
    assert bad.state is RunState.DIVERGED
    assert bad.summary.diverged_step is not None
    assert bad.summary.diverged_step <= 5
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED


def test_a_pack_of_diverging_runs_ends_early(store, settings, executor):
    grid = {"parameterizations": [{"preset": "sp", "base_learning_rates": [1e30]}]}
    submit(store, small_spec(grid=grid, steps=100_000))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    assert store.get_experiment("e").counts[RunState.DIVERGED] == 2


def test_cancel_takes_effect_between_slices(store, settings, executor):
    submit(store, small_spec(steps=100_000))
    dispatcher = Dispatcher(store, executor, settings, "d")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)

    store.cancel_experiment("e")
    run_until(dispatcher, ended(store))

    assert store.get_experiment("e").state is ExperimentState.CANCELLED
    assert all(0 < run.committed_steps < 100_000 for run in store.list_runs("e", limit=10))


def test_one_run_of_a_pack_can_be_cancelled(store, settings, executor):
    submit(store, small_spec(steps=2000))
    dispatcher = Dispatcher(store, executor, settings, "d")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)

    store.cancel_run("e", 2)
    run_until(dispatcher, ended(store))

    runs = store.list_runs("e", limit=10)
    expected = [RunState.SUCCEEDED, RunState.SUCCEEDED, RunState.CANCELLED, RunState.SUCCEEDED]
    assert [run.state for run in runs] == expected
    last = {run.index: max(step for index, _, step in points(store) if index == run.index) for run in runs}
    assert last[0] == 2000
    assert last[2] <= runs[2].committed_steps < 2000


def train_interrupted(home, checkpoints, interruptions):
    """Train the same experiment with a number of interruptions; return weights and points."""
    # A slice is one update, so every interruption comes long before the end.
    settings = settings_in(home, slice_seconds=1e-9, checkpoint_seconds=1e-9 if checkpoints else 1e9)
    store = store_in(settings)
    submit(store, small_spec(steps=100))
    for attempt in range(interruptions):
        executor = LocalExecutor()
        dispatcher = Dispatcher(store, executor, settings, f"d{attempt}")
        before = store.get_experiment("e").committed_steps
        run_until(dispatcher, lambda before=before: store.get_experiment("e").committed_steps > before)
        if checkpoints:
            dispatcher.drain()  # as on SIGTERM
        else:  # as after a crash, which is noticed when the lease ends
            token = store.attempts("e", 0)[-1].token
            store.end_attempt("e", "p0000", token, failure=None, retry=True)
        executor.close()
    executor = LocalExecutor()
    run_until(Dispatcher(store, executor, settings, "last"), ended(store))
    executor.close()
    assert len(store.attempts("e", 0)) == interruptions + 1
    return final_weights(store, settings), points(store)


@pytest.mark.parametrize("checkpoints", [True, False], ids=["from checkpoints", "from the start"])
def test_an_interrupted_pack_ends_as_an_undisturbed_one(tmp_path, checkpoints):
    undisturbed = train_interrupted(tmp_path / "undisturbed", checkpoints, interruptions=0)

    assert train_interrupted(tmp_path / "interrupted", checkpoints, interruptions=2) == undisturbed


def test_a_torn_checkpoint_is_not_used(tmp_path):
    settings = settings_in(tmp_path, slice_seconds=1e-9, checkpoint_seconds=1e-9)
    store = store_in(settings)
    submit(store, small_spec(steps=100))
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, settings, "d0")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)
    dispatcher.drain()
    executor.close()
    torn = sorted((settings.artifact_root.folder / "e" / "checkpoints").rglob("*.safetensors"))
    assert torn
    for path in torn:
        path.write_bytes(path.read_bytes()[:-10])

    executor = LocalExecutor()
    run_until(Dispatcher(store, executor, settings, "d1"), ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    notices = [e.payload["message"] for e in store.events("e", after=0, limit=1000) if e.kind == "notice"]
    assert any("not used" in str(message) for message in notices)
    assert not list((settings.artifact_root.folder / "e" / "checkpoints").rglob("*.*"))


def test_missing_data_fails_the_runs_with_reason_and_traceback(store, settings, executor, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    settings = settings.model_copy(update={"data": data})
    submit(store, small_spec(dataset="mnist"))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    run = store.get_run("e", 0)
    assert run.state is RunState.FAILED
    assert run.failure.reason is FailureReason.DATA_UNAVAILABLE
    assert str(data) in run.failure.message
    assert "Traceback" in run.failure.traceback
    assert len(store.attempts("e", 0)) == 1


def test_a_full_artifact_folder_is_a_failure_with_a_reason(store, settings, executor):
    shutil.rmtree(settings.artifact_root.folder, ignore_errors=True)
    settings.artifact_root.folder.write_text("not a folder")
    submit(store, small_spec())

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    assert store.get_run("e", 0).failure.reason is FailureReason.TRAINING_ERROR
    assert "NotADirectoryError" in store.get_run("e", 0).failure.traceback


class _DyingExecutor(LocalExecutor):
    """Real training, but the first `deaths` answers are lost with their workers, as after kills."""

    def __init__(self, deaths):
        super().__init__()
        self.deaths = deaths

    def ready(self, workers, timeout):
        arrived = super().ready(workers, timeout)
        if arrived and self.deaths:
            self.deaths -= 1
            return [(arrived[0][0], worker_lost("killed"))]
        return arrived


def test_a_lost_worker_is_replaced(store, settings):
    executor = _DyingExecutor(deaths=3)
    submit(store, small_spec())

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    reasons = [attempt.end_reason for attempt in store.attempts("e", 0)]
    assert reasons == [FailureReason.WORKER_LOST] * 3 + [None]


def test_attempts_that_get_on_use_up_no_budget(tmp_path):
    settings = settings_in(tmp_path, max_attempts=1, slice_seconds=1e-9, checkpoint_seconds=1e9)
    store, executor = store_in(settings), _DyingExecutor(deaths=0)
    submit(store, small_spec(steps=100))
    dispatcher = Dispatcher(store, executor, settings, "d")
    for _ in range(3):
        before = store.get_experiment("e").committed_steps
        run_until(dispatcher, lambda before=before: store.get_experiment("e").committed_steps > before)
        executor.deaths = 1
        run_until(dispatcher, lambda: not executor.deaths)
    run_until(dispatcher, ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    reasons = [attempt.end_reason for attempt in store.attempts("e", 0)]
    assert reasons == [FailureReason.WORKER_LOST] * 3 + [None]
    assert any("is tried again (1 more try): WORKER_LOST: killed" in notice for notice in notices(store, "e"))


def test_a_pack_that_ends_every_dispatcher_ends_some_day(tmp_path):
    settings = settings_in(tmp_path, max_attempts_lease_lost=3)
    clock = Clock()
    store_in(settings).close()
    store = open_store(settings.store_dsn, clock=clock)
    submit(store, small_spec(), "poison")
    for attempt in range(3):
        executor = _HangingExecutor()
        Dispatcher(store, executor, settings, f"d{attempt}").step()  # and never returns
        executor.close()
        clock.time += settings.lease_seconds
    executor = LocalExecutor()
    submit(store, small_spec())
    run_until(Dispatcher(store, executor, settings, "last"), ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    run = store.get_run("poison", 0)
    assert (run.state, run.failure.reason) == (RunState.FAILED, FailureReason.LEASE_LOST)
    assert "3 dispatchers in a row" in run.failure.message
    assert [a.end_reason for a in store.attempts("poison", 0)] == [FailureReason.LEASE_LOST] * 4


def test_the_retry_budget_ends(store, settings):
    executor = _DyingExecutor(deaths=100)
    submit(store, small_spec())

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))
    executor.close()

    run = store.get_run("e", 0)
    assert run.state is RunState.FAILED
    assert run.failure.reason is FailureReason.WORKER_LOST
    assert len(store.attempts("e", 0)) == settings.max_attempts


def test_what_no_node_could_hold_waits_and_says_so(store, settings, executor):
    submit(store, small_spec(resources={"cpus": 64}), "huge")
    submit(store, small_spec(), "small")

    done = ended(store, "small")
    run_until(Dispatcher(store, executor, settings, "d"), lambda: done() and notices(store, "huge"))

    assert store.get_experiment("huge").counts[RunState.QUEUED] == 4
    assert notices(store, "huge") == [
        "no node can hold a pack: it asks for 64 cpus; present nodes: 1 of 2 cpus; "
        "it fails after 3600 s unless one joins that can"
    ]
    assert store.attempts("huge", 0) == []


def test_many_that_no_node_could_hold_hide_nobody(store, settings, executor, monkeypatch):
    monkeypatch.setattr(board, "_PAGE", 2)
    monkeypatch.setattr(unplaceable, "_AT_ONCE", 2)
    for number in range(5):
        submit(store, small_spec(resources={"cpus": 64}), f"huge{number}", priority=9)
    submit(store, small_spec(), "small")

    monotonic = iter(range(10**9))  # it checks in each pass
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=lambda: float(next(monotonic)))
    run_until(dispatcher, ended(store, "small"))

    def told():
        return [len(notices(store, f"huge{number}")) for number in range(5)]

    run_until(dispatcher, lambda: told() == [1] * 5)
    dispatcher.step()
    assert told() == [1] * 5


def test_what_no_node_could_hold_fails_in_the_end_whoever_looks(tmp_path, executor):
    settings, store, clock = clocked(tmp_path, placement_timeout_seconds=600)
    submit(store, small_spec(resources={"cpus": 64}), "huge")
    submit(store, small_spec(), "small")
    first = Dispatcher(store, executor, settings, "d0")
    run_until(first, ended(store, "small"))
    run_until(first, lambda: store.get_experiment("huge").unplaceable_since is not None)

    clock.time += 599
    Dispatcher(store, executor, settings, "d1").step()
    assert store.get_experiment("huge").counts[RunState.QUEUED] == 4
    clock.time += 1
    Dispatcher(store, executor, settings, "d2").step()

    assert store.get_experiment("huge").state is ExperimentState.FAILED
    failure = store.get_run("huge", 3).failure
    assert failure.reason is FailureReason.UNSCHEDULABLE
    assert failure.message == (
        "for 600 s no node could hold a pack: it asks for 64 cpus; present nodes: 1 of 2 cpus"
    )
    assert store.attempts("huge", 0) == []
    assert store.get_experiment("small").state is ExperimentState.SUCCEEDED


def test_a_node_that_joins_in_time_is_used(tmp_path):
    settings, store, clock = clocked(tmp_path, placement_timeout_seconds=600)
    executor = _GrowingExecutor()
    submit(store, small_spec(resources={"custom": {"disk": 1}}), "disk")
    monotonic = Clock()
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic)
    dispatcher.step()
    assert store.get_experiment("disk").unplaceable_since == clock.time

    clock.time += 599
    dispatcher.step()
    executor.grow()  # long before the next report it is too late
    clock.time += 1
    monotonic.time += 1
    run_until(dispatcher, ended(store, "disk"))
    executor.close()

    assert store.get_experiment("disk").state is ExperimentState.SUCCEEDED
    assert store.get_experiment("disk").unplaceable_since is None


def test_one_dispatcher_that_can_hold_it_is_enough(tmp_path):
    settings, store, clock = clocked(tmp_path, placement_timeout_seconds=600)
    small, large = _HangingExecutor(cpus=1), _HangingExecutor(cpus=2)
    submit(store, small_spec(), "first", priority=1)
    submit(store, small_spec(resources={"cpus": 2}), "e")
    monotonic = Clock()
    those = [Dispatcher(store, it, settings, f"d{it.nodes()}", monotonic) for it in (large, small)]
    for dispatcher in those * 3:  # `large` trains `first` and has no free resources now
        clock.time += 400
        monotonic.time += 2
        dispatcher.step()
        dispatcher.renew()

    assert store.get_experiment("e").counts[RunState.QUEUED] == 4
    small.close()
    large.close()


def test_what_waits_for_others_to_end_waits_as_long_as_it_takes(tmp_path):
    settings, store, clock = clocked(tmp_path, placement_timeout_seconds=600)
    executor = _HangingExecutor(cpus=2)
    submit(store, small_spec(resources={"cpus": 2}), "first")
    submit(store, small_spec(resources={"cpus": 2}), "second")
    dispatcher = Dispatcher(store, executor, settings, "d")
    for _ in range(5):
        dispatcher.step()
        dispatcher.renew()
        clock.time += 1e6

    executor.hangs = False
    run_until(dispatcher, ended(store, "second"))
    executor.close()
    assert store.get_experiment("second").state is ExperimentState.SUCCEEDED


def test_a_pack_whose_node_went_before_it_started_is_given_back(tmp_path):
    settings = settings_in(tmp_path)
    store, executor = store_in(settings), _GrowingExecutor()
    executor.nodes = lambda: {"here": {"cpus": 1.0, "disk": 1.0}}
    submit(store, small_spec(resources={"custom": {"disk": 1}}))
    reports = iter(range(0, 10**9, 20))
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=lambda: float(next(reports)))
    dispatcher.step()
    assert store.get_experiment("e").counts[RunState.RUNNING] == 4

    executor.nodes = lambda: {"here": {"cpus": 1.0}}
    dispatcher.step()
    assert store.get_experiment("e").counts[RunState.QUEUED] == 4
    assert store.get_experiment("e").unplaceable_since is not None
    assert [attempt.end_reason for attempt in store.attempts("e", 0)] == [None]
    assert store.attempts("e", 0)[0].end_time is not None


class _GrowingExecutor(LocalExecutor):
    """Real training on one core. A pack that needs a disk waits until a node has one."""

    def __init__(self):
        super().__init__(cpus=1)
        self.cluster = "growing"
        self.grown = False
        self.waiting = []

    def nodes(self):
        return super().nodes() | ({"added": {"cpus": 1.0, "disk": 1.0}} if self.grown else {})

    def start(self, job):
        if not job.resources.custom or self.grown:
            return super().start(job)
        # As Ray's actors do, it queues calls until it has a process.
        worker = _Waiting(lambda: super(_GrowingExecutor, self).start(job))
        self.waiting.append(worker)
        return worker

    def ready(self, workers, timeout):
        inner = {id(w.inner) if isinstance(w, _Waiting) else id(w): w for w in workers}
        there = [w.inner if isinstance(w, _Waiting) else w for w in workers]
        return [(inner[id(w)], report) for w, report in super().ready([w for w in there if w], timeout)]

    def grow(self):
        self.grown = True
        for worker in self.waiting:
            worker.begin()


class _Waiting:
    def __init__(self, start):
        self.start, self.inner, self.calls = start, None, []

    def begin(self):
        self.inner = self.start()
        for masked, checkpoint in self.calls:
            self.inner.advance(masked, checkpoint=checkpoint)

    def advance(self, ended, *, checkpoint=False):
        if self.inner is None:
            self.calls.append((ended, checkpoint))
        else:
            self.inner.advance(ended, checkpoint=checkpoint)

    def started(self):
        return self.inner is not None

    alive = started

    def node(self):
        return "added" if self.inner is not None else ""

    def release(self):
        self.inner.release()

    def stop(self):
        if self.inner is not None:
            self.inner.stop()


def test_a_pack_may_wait_for_a_node_and_holds_up_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(hands, "slice_deadline", lambda *_: float("inf"))  # hours pass
    settings = settings_in(tmp_path, expected_nodes='[{"cpus": 8, "disk": 1}]')
    store, executor = store_in(settings), _GrowingExecutor()
    submit(store, small_spec(resources={"custom": {"disk": 1}}, grid={"widths": [8, 16]}), "disk", priority=1)
    submit(store, small_spec(resources={"custom": {"disk": 2}}), "larger", priority=1)
    submit(store, small_spec(), "cpu")
    clock = iter(range(0, 10**9, 20))  # a report in each step
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=lambda: float(next(clock)))

    done = ended(store, "cpu")
    # Experiments are planned in a separate thread, one after another.
    run_until(dispatcher, lambda: done() and notices(store, "disk") and notices(store, "larger"))
    assert len(executor.waiting) == 1
    assert store.get_experiment("disk").committed_steps == 0
    assert notices(store, "disk") == [
        "a pack waits for a node to be added: it asks for 1 cpus + 1 disk; "
        "present nodes: 1 of 1 cpus; nodes that can be added have 8 cpus + 1 disk"
    ]
    assert notices(store, "larger") == [
        "no node can hold a pack: it asks for 1 cpus + 2 disk; present nodes: 1 of 1 cpus; "
        "nodes that can be added have 8 cpus + 1 disk; it fails after 3600 s unless one joins that can"
    ]

    executor.grow()
    run_until(dispatcher, ended(store, "disk"))
    executor.close()
    assert store.get_experiment("disk").counts[RunState.SUCCEEDED] == 8


def test_higher_priority_goes_first(store, settings):
    executor = LocalExecutor(cpus=1)
    submit(store, small_spec(), "low")
    submit(store, small_spec(), "high", priority=5)

    run_until(Dispatcher(store, executor, settings, "d"), ended(store, "low"))
    executor.close()

    high, low = store.get_experiment("high"), store.get_experiment("low")
    assert high.start_time < low.start_time
    assert high.end_time < low.end_time


def test_two_dispatchers_share_the_work_without_doubling_it(store, settings):
    executors = [LocalExecutor(cpus=1), LocalExecutor(cpus=1)]
    dispatchers = [Dispatcher(store, executor, settings, f"d{i}") for i, executor in enumerate(executors)]
    submit(store, small_spec(grid={"widths": [8, 16, 24], "activations": ["relu", "tanh"]}))
    for _ in range(2000):
        if ended(store)():
            break
        for dispatcher in dispatchers:
            dispatcher.step()
    for executor in executors:
        executor.close()

    assert store.get_experiment("e").counts[RunState.SUCCEEDED] == 24
    assert len({key for key in points(store) if key[1:] == ("train_loss", 20)}) == 24


def test_an_experiment_that_cannot_be_planned_fails_alone(store, settings, executor):
    poison = small_spec()
    poison.dataset = "of-a-later-version"
    submit(store, poison, "poison", priority=1)
    submit(store, small_spec())

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    assert store.get_experiment("poison").state is ExperimentState.FAILED
    failure = store.get_run("poison", 0).failure
    assert failure.reason is FailureReason.DATA_UNAVAILABLE
    assert "planning: DataError: unknown dataset 'of-a-later-version'" in failure.message


def test_a_pack_whose_job_cannot_be_built_fails_alone(store, settings, executor, monkeypatch):
    submit(store, small_spec(), "poison")
    submit(store, small_spec(), "e")

    def job(pack, settings):
        if pack.experiment.id == "poison":
            raise RuntimeError("a defect")
        return assembly.make_job(pack, settings)

    monkeypatch.setattr(hands, "make_job", job)
    dispatcher = Dispatcher(store, executor, settings, "d")
    run_until(dispatcher, ended(store))

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    assert "starting the pack: RuntimeError: a defect" in store.get_run("poison", 0).failure.message


def test_a_diverged_run_keeps_no_final_weights(store, settings, executor):
    grid = {"parameterizations": [{"preset": "sp", "base_learning_rates": [0.1, 1e30]}], "seeds": [0]}
    submit(store, small_spec(grid=grid, steps=5))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    assert [artifact.path for artifact in store.artifacts("e", 0)] == ["weights/final.safetensors"]
    assert store.get_run("e", 1).state is RunState.DIVERGED
    assert store.artifacts("e", 1) == []


class _HangingExecutor(LocalExecutor):
    """Real training, but while `hangs` is set the answers are held back, as by a stopped process."""

    hangs = True

    def ready(self, workers, timeout):
        return [] if self.hangs else super().ready(workers, timeout)


def test_a_worker_that_hangs_is_given_up(store, settings):
    executor, clock = _HangingExecutor(), Clock()
    submit(store, small_spec())
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=clock)
    dispatcher.step()
    clock.time += 59
    dispatcher.step()
    assert [attempt.end_reason for attempt in store.attempts("e", 0)] == [None]

    clock.time += 2
    dispatcher.step()
    executor.hangs = False
    run_until(dispatcher, ended(store))
    executor.close()

    assert [attempt.end_reason for attempt in store.attempts("e", 0)] == [FailureReason.WORKER_LOST, None]
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED


def test_an_outage_of_the_store_is_survived(tmp_path, monkeypatch):
    settings, store, clock = clocked(tmp_path, slice_seconds=1e-9)
    monkeypatch.setattr(dispatcher_module, "_OUTAGE_SECONDS", 0.01)
    submit(store, small_spec(steps=100))
    commit, outages = store.commit_slice, iter([StoreUnavailable("gone"), None, StoreUnavailable("gone")])

    def fragile(*arguments):
        if error := next(outages, None):
            clock.time += settings.lease_seconds  # so long that the lease cannot be renewed
            raise error
        return commit(*arguments)

    monkeypatch.setattr(store, "commit_slice", fragile)
    executor, stop = LocalExecutor(), threading.Event()
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=clock)
    thread = threading.Thread(target=dispatcher.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 180
    while not ended(store)():
        assert time.monotonic() < deadline, "the pack was not taken up again"
        time.sleep(0.05)
    stop.set()
    thread.join()
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    reasons = [attempt.end_reason for attempt in store.attempts("e", 0)]
    assert reasons == [FailureReason.LEASE_LOST, FailureReason.LEASE_LOST, None]
    assert len({key for key in points(store) if key[1:] == ("train_loss", 100)}) == 4


def test_a_stopped_dispatcher_writes_checkpoints_and_gives_its_packs_back(tmp_path):
    settings = settings_in(tmp_path)
    store = store_in(settings)
    submit(store, small_spec(steps=100_000))
    executor, stop = LocalExecutor(), threading.Event()
    thread = threading.Thread(target=Dispatcher(store, executor, settings, "d").run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 180
    while not store.get_experiment("e").committed_steps:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stop.set()
    thread.join()
    executor.close()

    assert store.get_experiment("e").counts[RunState.QUEUED] == 4
    (experiment,) = store.waiting()
    pack = store.lease_pack(experiment.id, "next", 60)
    assert pack.checkpoints[0].step == pack.committed_steps > 0
    assert (settings.artifact_root.folder / pack.checkpoints[0].path).exists()


def test_a_failed_pack_leaves_no_checkpoints(tmp_path):
    settings = settings_in(tmp_path, checkpoint_seconds=1e-9, max_attempts=1)
    store = store_in(settings)
    executor = _DyingExecutor(deaths=0)
    submit(store, small_spec(steps=100_000))
    dispatcher = Dispatcher(store, executor, settings, "d")
    checkpoints = settings.artifact_root.folder / "e" / "checkpoints"
    run_until(dispatcher, lambda: list(checkpoints.rglob("*.safetensors")))

    executor.deaths = 2  # the first one committed something, so it does not count
    run_until(dispatcher, ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.FAILED
    assert len(store.attempts("e", 0)) == 2
    assert not list(checkpoints.rglob("*.safetensors"))


def test_a_lost_cluster_ends_the_dispatcher_and_fails_nobody(store, settings, executor, monkeypatch):
    submit(store, small_spec())

    def lost():
        raise ClusterLost("no node is left")

    monkeypatch.setattr(executor, "nodes", lost)
    with pytest.raises(ClusterLost):
        Dispatcher(store, executor, settings, "d").run(threading.Event())

    assert store.get_experiment("e").counts[RunState.QUEUED] == 4


@pytest.mark.parametrize("draining", [False, True])
def test_a_cluster_lost_with_packs_in_hand_costs_them_no_attempt(
    store, settings, executor, monkeypatch, draining
):
    submit(store, small_spec(steps=100_000))
    stop, ready, told = threading.Event(), executor.ready, []

    def lost_after_a_while(*call):
        if store.get_experiment("e").committed_steps:
            told.append(True)
            if draining and not stop.is_set():
                stop.set()
            else:
                raise ClusterLost("Ray takes this process for dead")
        return ready(*call)

    monkeypatch.setattr(executor, "ready", lost_after_a_while)
    dispatcher = Dispatcher(store, executor, settings, "d")
    if draining:
        dispatcher.run(stop)
    else:
        with pytest.raises(ClusterLost):
            dispatcher.run(stop)

    assert told
    assert store.get_experiment("e").counts[RunState.QUEUED] == 4
    assert [(attempt.end_time is None, attempt.end_reason) for attempt in store.attempts("e", 0)] == [
        (False, None)
    ]

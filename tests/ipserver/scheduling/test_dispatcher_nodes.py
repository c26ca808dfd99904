"""The dispatcher and nodes: packs that no node holds, that wait for one, and whose node has gone."""

from ipserver.scheduling import hands
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState, FailureReason, RunState
from ipserver.store.transactions import board, unplaceable
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import Clock, clocked, ended, notices, run_until
from tests.ipserver.scheduling.test_dispatcher_failures import _HangingExecutor
from tests.ipserver.support import settings_in, small_spec, store_in, submit


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

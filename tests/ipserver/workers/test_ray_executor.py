"""The dispatcher on a real Ray: workers are processes that can be killed."""

import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import ipserver.workers.trainer
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipserver.errors import ArtifactsUnavailable, NotReady
from ipserver.ops.privacy import open_ports
from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState, FailureReason
from ipserver.workers.local_executor import LocalExecutor
from ipserver.workers.on_ray.actor import Trainer
from ipserver.workers.on_ray.executor import RayExecutor
from ipserver.workers.on_ray.worker import death_of
from tests.faults.processes import children
from tests.ipserver.scheduling.cases import final_weights, notices, points
from tests.ipserver.support import settings_in, small_spec, store_in, submit
from tests.ipserver.workers.conftest import ray_pids

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def executor(ray_here):
    """Keeps no worker ready for a next pack."""
    yield ray_here
    ray_here.trim()


@contextmanager
def keeping(executor):
    """One worker is kept ready for the next pack, as by default."""
    executor._ready_workers = 1
    try:
        yield
    finally:
        executor._ready_workers = 0


@pytest.fixture
def thrifty(executor):
    """The worker of a test serves the next one, if it asks for this too: a start takes seconds."""
    with keeping(executor):
        yield executor


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path, slice_seconds=0.1)


@pytest.fixture
def store(settings):
    return store_in(settings)


def run_until(dispatcher, condition, seconds=180):
    """Work with a dispatcher until a condition holds; its leases are renewed, as by its own thread.

    It pauses: a pass that finds nothing is work, and what it waits for needs the core.
    """
    deadline, renewed = time.monotonic() + seconds, 0.0
    while not condition():
        now = time.monotonic()
        assert now < deadline, "not reached"
        if not dispatcher.step():
            time.sleep(0.1)
        if now > renewed + 0.5:
            dispatcher.renew()  # on a busy machine the start of a worker takes longer than a lease
            renewed = now


def test_nodes_have_our_names(executor):
    assert list(executor.nodes().values()) == [{"cpus": 2.0}]


def test_it_is_made_of_the_processes_that_it_needs(executor):
    """Ray's own list, without the dashboard's server and two monitors."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in ray_pids(executor)}
    names = {Path(word).name for words in commands.values() for word in words[:3]}

    assert {"gcs_server", "raylet"} <= names
    assert not names & {"dashboard.py", "log_monitor.py", "monitor.py"}


def test_it_waits_for_a_missing_head_for_15_seconds(executor):
    """Ray's own 60 are long for a supervisor that could start another dispatcher."""
    assert os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] == "15"  # noqa: SIM112 - as Ray spells it


def test_an_experiment_trains_on_workers_that_are_kept_for_the_next_pack(store, settings, executor):
    submit(store, small_spec(grid={"widths": [8, 16, 24], "activations": ["relu", "tanh"]}))
    to_infinity = {"parameterizations": [{"preset": "hpz"}], "widths": [8], "infinite_width": True}
    few = {"record": {"weights": "none"}, "infinite_width": {"particles": 32, "replicas": 2}}
    submit(store, small_spec(grid=to_infinity, **few), "limits")
    dispatcher = Dispatcher(store, executor, settings, "d")
    seen = set()

    def ended():
        seen.update(worker_pids())
        return all(store.get_experiment(name).state.terminal for name in ("e", "limits"))

    run_until(dispatcher, ended)

    experiment = store.get_experiment("e")
    assert experiment.state is ExperimentState.SUCCEEDED
    assert experiment.committed_steps == 24 * 20
    assert len({run.pack for run in store.list_runs("e", limit=100)}) == 6
    # Two; on a busy machine the first one may be done, and ends, before the second has started.
    assert len(seen) in {2, 3}
    # Limits are runs like others: the last ones, with the particles' own error.
    assert store.get_experiment("limits").state is ExperimentState.SUCCEEDED
    runs = store.list_runs("limits", limit=10)
    assert [run.width for run in runs] == [8, 8, INFINITE_WIDTH, INFINITE_WIDTH]
    assert [run.summary.final_limit_error is None for run in runs] == [True, True, False, False]
    assert {run for run, metric, _ in points(store, "limits") if metric == "limit_error"} == {2, 3}
    # Other machines do not reach it; on this one, its token is needed.
    assert open_ports({*ray_pids(executor), os.getpid()}) == []
    # The first worker of a size has measured its machine.
    profile = executor.profile(ResourceRequest(cpus=1))
    assert profile is not None and profile.rate > 1e8
    assert executor.profile(ResourceRequest(cpus=1.5)) is None
    run_until(dispatcher, lambda: not worker_pids())


def test_a_sigterm_for_all_of_ray_changes_nothing(store, settings, thrifty):
    submit(store, small_spec(steps=3000))
    dispatcher = Dispatcher(store, thrifty, settings, "d")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)

    for pid in ray_pids(thrifty):
        os.kill(pid, signal.SIGTERM)
    run_until(dispatcher, lambda: store.get_experiment("e").state.terminal)

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    assert len(store.attempts("e", 0)) == 1


def test_what_keeps_a_worker_from_its_pack_is_reported_as_it_was(monkeypatch):
    class Refusing:
        def __init__(self, job):
            raise ArtifactsUnavailable("the disk is away")

    worker = Trainer()
    monkeypatch.setattr(ipserver.workers.trainer, "PackTrainer", Refusing)
    job = SimpleNamespace(pack="p0000")
    worker.load(job)
    failure = worker.advance((), False).failure
    assert failure.reason is FailureReason.ARTIFACTS_UNAVAILABLE
    assert failure.message == "ArtifactsUnavailable: the disk is away"
    assert "in __init__" in failure.traceback

    monkeypatch.setitem(sys.modules, "ipserver.workers.trainer", None)  # as if it could not be imported
    worker.load(job)
    failure = worker.advance((), False).failure
    assert failure.reason is FailureReason.TRAINING_ERROR
    assert failure.message.startswith("ModuleNotFoundError: import of ipserver.workers.trainer halted")


def test_a_killed_worker_is_replaced(store, settings, thrifty):
    submit(store, small_spec(steps=3000))
    dispatcher = Dispatcher(store, thrifty, settings, "d")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)

    (worker,) = worker_pids()
    os.kill(worker, signal.SIGKILL)
    run_until(dispatcher, lambda: store.get_experiment("e").state.terminal)

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    first, second = store.attempts("e", 0)
    assert first.end_reason is FailureReason.WORKER_LOST
    assert second.end_reason is None


def test_data_trouble_comes_back_with_its_traceback(store, settings, thrifty, tmp_path):
    (tmp_path / "data").mkdir()
    settings = settings.model_copy(update={"data": tmp_path / "data"})
    submit(store, small_spec(dataset="mnist"))

    run_until(Dispatcher(store, thrifty, settings, "d"), lambda: store.get_experiment("e").state.terminal)

    failure = store.get_run("e", 0).failure
    assert failure.reason is FailureReason.DATA_UNAVAILABLE
    assert "Traceback" in failure.traceback


def test_resources_that_ray_refuses_fail_their_pack_alone(store, settings, thrifty):
    submit(store, small_spec(resources={"cpus": 0.00001}), "poison")
    submit(store, small_spec())

    run_until(Dispatcher(store, thrifty, settings, "d"), lambda: store.get_experiment("e").state.terminal)

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    assert "starting the pack: ValueError" in store.get_run("poison", 0).failure.message


def worker_pids():
    """The trainers' processes below this process (Ray names them after the actor's class)."""
    return {pid for pid, name in children(os.getpid()).items() if name.startswith("ray::Trainer")}


def paused(store, dispatcher, executor):
    store.pause_experiment("e")
    run_until(dispatcher, lambda: store.get_experiment("e").state is ExperimentState.PAUSED)
    run_until(dispatcher, lambda: not worker_pids())
    store.resume_experiment("e")
    before = store.get_experiment("e").committed_steps
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > before)


def preempted(store, dispatcher, executor):
    """The worker of the pack that makes room would be kept, and must not."""
    submit(store, small_spec(resources={"cpus": 2}), "urgent", priority=1)
    with keeping(executor):
        run_until(dispatcher, lambda: store.get_experiment("urgent").state.terminal)
    assert not store.get_experiment("e").state.terminal


def test_a_paused_and_preempted_pack_ends_bit_for_bit_as_an_undisturbed_one(executor, tmp_path):
    outcomes = []
    undisturbed = LocalExecutor(cpus=2)
    for where, disturbances in ((undisturbed, []), (executor, [paused, preempted])):
        settings = settings_in(
            tmp_path / str(len(disturbances)),
            slice_seconds=1e-6,  # one update each: no machine is so fast that it ends before it is disturbed
            checkpoint_seconds=1e9,
            lease_seconds=600,
            worker_start_seconds=600,
            max_attempts=1,
        )
        store = store_in(settings)
        submit(store, small_spec(steps=200))
        # It checks for preemption twice per second.
        dispatcher = Dispatcher(store, where, settings, "d", monotonic=lambda: 2 * time.monotonic())
        run_until(dispatcher, lambda store=store: store.get_experiment("e").committed_steps > 0)
        for disturb in disturbances:
            disturb(store, dispatcher, where)
        run_until(dispatcher, lambda store=store: store.get_experiment("e").state.terminal)
        outcomes.append((final_weights(store, settings), points(store)))
    undisturbed.close()

    assert outcomes[0] == outcomes[1]
    attempts = store.attempts("e", 0)
    assert [attempt.end_reason for attempt in attempts] == [None, None, None]
    assert [text for text in notices(store, "e") if "resumed" in text] == [
        f"pack p0000: resumed from the checkpoint of step {attempt.first_step}" for attempt in attempts[1:]
    ]


def test_no_ray_at_the_address_is_a_clear_error():
    with pytest.raises(
        NotReady, match=r"IPLAB_RAY_ADDRESS: nothing answers at 127\.0\.0\.1:1: Connection refused"
    ):
        RayExecutor("127.0.0.1:1")


def test_a_dead_process_is_said_in_one_sentence():
    text = (
        "The actor died unexpectedly before finishing this task.\n\tclass_name: Trainer\n\tactor_id: 51f7\n"
        "\tpid: 15887\n\tnamespace: iplab\n\tip: 10.0.0.1\n"
        "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR ..."
    )
    said = "the worker's process 15887 at 10.0.0.1 was killed, for example for lack of memory, or crashed"
    assert death_of(text) == said
    assert death_of("The actor is dead because its node has died.\n").endswith("its node has died.")
    assert death_of("") == "the worker process died"

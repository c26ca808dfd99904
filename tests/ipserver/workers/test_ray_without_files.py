"""A cleaner of /tmp empties the folder of our Ray, which then starts no workers and is given up."""

import shutil
import threading
import time

import pytest

from ipserver.errors import ClusterLost
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.scheduling.hands import _START_SECONDS
from ipserver.store.states import RunState
from ipserver.workers.executor import Worker
from ipserver.workers.local_executor import LocalExecutor
from ipserver.workers.on_ray.cluster import needed_for_workers
from tests.ipserver.scheduling.cases import Clock
from tests.ipserver.support import settings_in, small_spec, store_in, submit


@pytest.mark.ray
def test_an_emptied_session_folder_is_a_lost_cluster(ray_here, tmp_path):
    """The last test with the shared Ray, which it breaks."""
    settings = settings_in(tmp_path, lease_seconds=600)
    store, stop = store_in(settings), threading.Event()
    sockets, _, logs = needed_for_workers()
    assert sockets.exists()
    for folder in (sockets.parent, logs):
        shutil.rmtree(folder)
    # Ray may have processes ready for the first workers, at most one for each core.
    sizes = {"first": 1, "second": 0.5, "third": 0.25, "fourth": 0.125}
    for name, cpus in sizes.items():
        submit(store, small_spec(resources={"cpus": cpus}), name)
    begun = time.monotonic()
    with pytest.raises(ClusterLost, match=r"has not started for \d+ s .*raylet is gone"):
        Dispatcher(store, ray_here, settings, "d").run(stop)

    assert time.monotonic() - begun < settings.worker_start_seconds
    counts = {name: store.get_experiment(name).counts for name in sizes}
    waiting = [name for name in sizes if counts[name][RunState.QUEUED]]
    assert len(waiting) >= 2
    for name in waiting:
        assert counts[name][RunState.QUEUED] == 4
        (attempt,) = store.attempts(name, 0)
        assert attempt.end_time is not None and attempt.end_reason is None, "it costs no attempt"


class _Stillborn(LocalExecutor):
    """Workers whose processes never start, as with a Ray that is broken in another way."""

    owned = True

    def start(self, job):
        worker = super().start(job)
        worker.alive = worker.started = lambda: False
        worker.node = lambda: ""
        worker.advance = lambda ended, *, checkpoint=False: None
        return worker

    def stuck(self, worker: Worker, late: bool) -> str:
        return "Ray does not start it" if self.owned and late else ""


@pytest.mark.parametrize("owned", [True, False])
def test_a_worker_has_a_deadline_for_its_start_where_its_resources_are_surely_free(tmp_path, owned):
    settings = settings_in(tmp_path, worker_start_seconds=120, lease_seconds=1e6)
    store, executor, clock = store_in(settings), _Stillborn(), Clock()
    executor.owned = owned
    submit(store, small_spec())
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=clock)
    dispatcher.step()
    clock.time += _START_SECONDS
    dispatcher.step()
    clock.time += 120 - _START_SECONDS
    dispatcher.step()
    clock.time += 1
    if owned:
        with pytest.raises(ClusterLost, match=r"for 121 s though its resources are free"):
            dispatcher.step()
    else:  # others may use the resources: it is tried again, but not on that node for a while
        dispatcher.step()
        assert store.get_experiment("e").counts[RunState.QUEUED] == 4
        clock.time += 119
        dispatcher.step()
        assert len(store.attempts("e", 0)) == 1
        clock.time += 1
        dispatcher.step()
        assert [attempt.end_reason for attempt in store.attempts("e", 0)] == [None, None]
        assert store.get_experiment("e").unplaceable_since is None
    executor.close()

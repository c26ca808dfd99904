"""A real service in this process: the API on a real socket, a store on SQLite, training in threads."""

import asyncio
import threading

import pytest

import iplab
from ipserver.api.server import ApiConfig, serve
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver import statements
from tests.ipserver.support import settings_in, store_in
from tests.ports import free_port

statements.share()


class Service:
    """What `ipserver up` starts, without Ray and MLflow; parts can be stopped and started again."""

    def __init__(self, home, watch_capacity=10_000, auth=False):
        self.settings = settings_in(home)
        self.store = store_in(self.settings)
        self.watch_capacity = watch_capacity
        self.auth = auth
        self.port = free_port()  # for the next start
        self._thread = None
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def running(self):
        return self._thread is not None

    def start(self):
        """Listen on its port."""
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

        config = ApiConfig(
            self.address,
            self.settings.artifact_root,
            workers=4,
            watch_interval=0.01,
            processes=0,
            watch_capacity=self.watch_capacity,
            grace=0.1,
            auth=self.auth,
        )
        served = serve(self.store, config, stop=self._stop, ready=lambda _: ready.set())
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(served,))
        self._thread.start()
        assert ready.wait(60)

    def stop(self):
        """End the API; the store stays."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(60)
            self._loop.close()
            self._thread = None

    def train(self):
        """Train until nothing is left to do."""
        executor = LocalExecutor()
        dispatcher = Dispatcher(self.store, executor, self.settings, "dispatcher")
        while not self.store.idle():
            dispatcher.renew()
            dispatcher.step()
        executor.close()

    def close(self):
        self.stop()
        self.store.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """One service for all tests that do not stop it."""
    service = Service(tmp_path_factory.mktemp("service"))
    yield service
    service.close()


@pytest.fixture
def own_service(tmp_path):
    """A service for tests that stop it or need an empty one."""
    service = Service(tmp_path)
    yield service
    service.close()


@pytest.fixture(scope="session")
def client(service):
    with iplab.connect(service.address) as client:
        yield client


@pytest.fixture(scope="session")
def trained(service, client):
    """Two parameterizations, two widths, two seeds on digits: eight trained runs."""
    experiment = client.create(small_spec(), experiment_id="trained")
    service.train()
    return experiment.refresh()


@pytest.fixture
def impatient(monkeypatch):
    """Retries without pauses."""
    for module in ("connection.transport", "results.following", "results.artifacts"):
        monkeypatch.setattr(f"iplab.{module}.pause", lambda delay: None)


def small_spec(**changes):
    """A spec as a dict; `changes` replace entries of its grid."""
    grid = {
        "parameterizations": [{"preset": "mup"}, {"label": "llr", "preset": "ip-llr", "calibration": {}}],
        "widths": [8, 16],
        "hidden_layers": [2],
        "activations": ["relu"],
        "base_learning_rates": [0.1],
        "seeds": [0, 1],
    }
    spec = {
        "dataset": "digits",
        "batch_size": 32,
        "steps": 20,
        "grid": grid | changes,
        "record": {"metrics_interval": 5, "weights": "initial_and_final"},
    }
    return {"display_name": "eight small runs", "labels": {"team": "theory"}, "spec": spec}

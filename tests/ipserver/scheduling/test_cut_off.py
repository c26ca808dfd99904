"""The connection to PostgreSQL is cut during a commit: nothing is lost or doubled."""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from ipserver import failpoints
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import open_store
from ipserver.store.states import ExperimentState, FailureReason
from ipserver.workers.local_executor import LocalExecutor
from tests.cluster import relay
from tests.ipserver.postgres import POSTGRES
from tests.ipserver.scheduling.cases import ended, final_weights, points, run_until
from tests.ipserver.support import settings_in, small_spec, store_in, submit

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not POSTGRES, reason="IPLAB_TEST_POSTGRES is not set"),
]
# A slice is one update, so there is a third commit on any machine, and more after it.
SPEC, OPTIONS = {"steps": 8}, {"slice_seconds": 1e-9}


class Wire:
    """A relay between the dispatcher and the server, which can be cut; `dsn` leads through it."""

    def __init__(self, dsn, folder):
        url = sa.make_url(dsn)
        self._socket = folder / ".s.PGSQL.5432"
        self._target = f"tcp:{url.host}:{url.port or 5432}"
        query = {**url.query, "host": str(folder), "port": "5432"}
        self.dsn = url.set(host=None, port=None, query=query).render_as_string(hide_password=False)

    def connect(self):
        command = [sys.executable, relay.__file__, f"unix:{self._socket}", self._target]
        self._process = subprocess.Popen(command)
        wait_for(self._socket.exists)

    def cut(self):
        self._process.kill()
        self._process.wait()
        self._socket.unlink()


@pytest.fixture
def wire(schemas):
    dsn = next(schemas)
    with tempfile.TemporaryDirectory(prefix="w", dir="/tmp") as folder:  # sockets need a short path
        wire = Wire(dsn, Path(folder))
        wire.connect()
        try:
            yield dsn, wire
        finally:
            wire.cut()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Points and final weights of the same experiment without a cut."""
    settings, executor = settings_in(tmp_path_factory.mktemp("undisturbed"), **OPTIONS), LocalExecutor(cpus=1)
    with store_in(settings) as store:
        submit(store, small_spec(**SPEC))
        run_until(Dispatcher(store, executor, settings, "d"), ended(store))
        executor.close()
        return points(store), final_weights(store, settings)


def wait_for(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not reached"
        time.sleep(0.01)


@pytest.mark.parametrize("phase", ["before", "during", "after"])
def test_what_was_committed_is_there_once(wire, phase, undisturbed, tmp_path, monkeypatch, caplog):
    dsn, wire = wire
    folder = tmp_path / "points"
    folder.mkdir()
    reached = folder / f"commit.{phase}.reached"
    (folder / f"commit.{phase}").write_text("wait 3")
    monkeypatch.setattr(failpoints, "_folder", folder)
    settings = settings_in(tmp_path / "home", store=wire.dsn, **OPTIONS)
    ahead = [0.0]
    executor, stop = LocalExecutor(cpus=1), threading.Event()
    with open_store(dsn) as seen, open_store(wire.dsn, clock=lambda: time.time() + ahead[0]) as store:
        submit(seen, small_spec(**SPEC))
        dispatcher = threading.Thread(target=Dispatcher(store, executor, settings, "d").run, args=(stop,))
        dispatcher.start()
        try:
            wait_for(reached.exists)
            wire.cut()
            reached.unlink()
            wait_for(lambda: "the store cannot be reached" in caplog.text)
            ahead[0] = settings.lease_seconds  # the lease that was left behind has expired
            wire.connect()
            wait_for(ended(seen))
        finally:
            reached.unlink(missing_ok=True)
            stop.set()
            dispatcher.join()
        executor.close()

        assert seen.get_experiment("e").state is ExperimentState.SUCCEEDED
        assert {it.end_reason for it in seen.attempts("e", 0)} <= {None, FailureReason.LEASE_LOST}
        found, weights = points(seen), final_weights(seen, settings)
    assert (found, weights) == undisturbed

"""The parts of one service as child processes of a test, and operations on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import sqlalchemy as sa

import iplab
from ipserver.store import Store, migrate, open_store
from tests.faults.processes import children, end_marked, kill, marked
from tests.ports import free_port

PYTHON = [sys.executable, "-m", "ipserver"]
RELAY = Path(__file__).parent.parent / "cluster" / "relay.py"
# Short, so that tests do not wait for the end of a dead process's lease, for a checkpoint, ...
TIMES = {
    "LEASE_SECONDS": "3",
    "SLICE_SECONDS": "0.0001",  # a slice is one update, so that no pack ends before its fault
    "CHECKPOINT_SECONDS": "0.05",
    "SWEEP_SECONDS": "1",
    "WAIT_SECONDS": "120",
}
START_SECONDS = 120.0
# These processes of Ray look for their raylet from time to time, and end up to a minute after it.
RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


class Lab:
    """A service whose parts are started, killed and restarted one by one.

    Args:
        folder: Folder for all of its files; a short path, since it holds sockets.
        dsn: Address of its database for the tests.
        postgres: host:port of the PostgreSQL server, if it has one: parts reach it through a relay that can
            be cut.
        namespace: Command that runs another one in a network namespace that has only loopback.
        mlflow_server: Whether MLflow is a server, which can be killed, or only a database.
        settings: Additional settings of its parts ("IPLAB_...").
    """

    def __init__(
        self,
        folder: Path,
        dsn: str,
        postgres: str,
        namespace: list[str],
        *,
        mlflow_server: bool,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.failpoints = folder / "points"
        self._server = f"http://127.0.0.1:{free_port()}" if mlflow_server else ""
        self.mlflow_uri = self._server or f"sqlite:///{self.home}/mlflow/mlflow.db"
        self.address = f"127.0.0.1:{free_port()}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.settings = dict(settings or {})
        self._namespace = namespace
        self._postgres = postgres
        for path in (self.home, self.failpoints, folder / "tmp", folder / "ray", folder / "logs"):
            path.mkdir(exist_ok=True)
        migrate(dsn)
        self.store: Store = open_store(dsn)
        self.dsn = dsn if not postgres else self._relayed(dsn)
        self.commands = {
            "mlflow": [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"],
            "relay": [sys.executable, str(RELAY), f"unix:{folder}/pg/.s.PGSQL.5432", f"tcp:{postgres}"],
            "api": [*PYTHON, "api"],
            "dispatch": [*namespace, *PYTHON, "dispatch"],
            "forward": [*PYTHON, "forward"],
        }
        self.commands["mlflow"] += ["--port", self._server.rpartition(":")[2], "--no-serve-artifacts"]
        self.commands["mlflow"] += ["--default-artifact-root", str(folder / "mlartifacts")]

    def _relayed(self, dsn: str) -> str:
        (self.folder / "pg").mkdir()
        query = {**sa.make_url(dsn).query, "host": f"{self.folder}/pg", "port": "5432"}
        url = sa.make_url(dsn).set(host=None, port=None, query=query)
        return url.render_as_string(hide_password=False)

    def environment(self) -> dict[str, str]:
        """The variables of its parts. IPLAB_HOME marks all of their descendants."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")}
        return {
            **clean,
            **{f"IPLAB_{name}": value for name, value in TIMES.items()},
            "IPLAB_HOME": str(self.home),
            "IPLAB_STORE": self.dsn,
            "IPLAB_ADDRESS": self.address,
            "IPLAB_CPUS": "2",
            "IPLAB_READY_WORKERS": "0",
            # Its disk is small, so that tests can fill it.
            "IPLAB_MIN_FREE_BYTES": "0",
            "IPLAB_MLFLOW_TRACKING_URI": self._server,
            "IPLAB_FAILPOINTS": str(self.failpoints),
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self.folder}/mlflow.db",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "TMPDIR": str(self.folder / "tmp"),
            "RAY_TMPDIR": str(self.folder / "ray"),
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }

    @property
    def parts(self) -> tuple[str, ...]:
        """All parts, in the order in which they are started."""
        optional = {"relay": self._postgres, "mlflow": self._server}
        return (*(name for name in optional if optional[name]), "api", "dispatch", "forward")

    def start(self, *names: str) -> None:
        """Start parts."""
        for name in names:
            assert name not in self.processes or self.processes[name].poll() is not None, f"{name} runs"
            if name == "relay":
                (self.folder / "pg" / ".s.PGSQL.5432").unlink(missing_ok=True)
            with self.log(name).open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self.commands[name],
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def start_all(self) -> None:
        """Start everything, and return when the service can be used."""
        begin = self.store.capacity()
        self.start(*self.parts)
        wait_for(lambda: self.store.capacity() != begin, START_SECONDS, lambda: self.tail("dispatch"))
        wait_for(self._api_answers, START_SECONDS, lambda: self.tail("api"))

    def await_dispatcher(self) -> None:
        """Wait until a dispatcher that was started says what it has."""
        said = self.store.capacity()
        wait_for(lambda: self.store.capacity() != said, 300.0, lambda: self.tail("dispatch"))

    def _api_answers(self) -> bool:
        with grpc.insecure_channel(self.address) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=1.0)
            except grpc.FutureTimeoutError:
                return False
        return True

    def ended(self, name: str) -> int | None:
        """Exit status of a part; None if it runs."""
        return self.processes[name].poll()

    def kill(self, name: str) -> None:
        """kill -9 of one part. Its child processes are not killed, except for MLflow's workers."""
        workers = children(self.processes[name].pid) if name == "mlflow" else {}
        for pid in workers:
            kill(pid)
        self.processes[name].kill()
        self.processes[name].wait()

    def terminate(self, name: str, seconds: float = 60.0) -> int:
        """Send SIGTERM; return the exit status."""
        self.processes[name].send_signal(signal.SIGTERM)
        return self.processes[name].wait(seconds)

    def await_end(self, name: str, seconds: float) -> None:
        """Wait until a part ends by itself."""
        wait_for(lambda: self.ended(name) is not None, seconds, lambda: self.tail(name))

    def revive(self) -> list[str]:
        """Start every part that does not run; return their names."""
        dead = [name for name in self.parts if self.ended(name) is not None]
        self.start(*dead)
        return dead

    @property
    def kept_trainers(self) -> int:
        """The number of training actors that its dispatcher keeps for a next pack."""
        return int(self.environment()["IPLAB_READY_WORKERS"])

    def trainers(self) -> list[int]:
        """Processes of its training actors."""
        return [pid for pid, command in marked(self._mark).items() if command.startswith("ray::Trainer")]

    def ray(self, *programs: str) -> list[int]:
        """Processes of its Ray, below the dispatcher; or only those of these programs ("raylet")."""
        below = children(self.processes["dispatch"].pid)
        return [
            pid
            for pid, command in below.items()
            if not programs or any(command.split(" ")[0].endswith(f"/{name}") for name in programs)
        ]

    @property
    def _mark(self) -> str:
        return f"IPLAB_HOME={self.home}"

    def strangers(self) -> dict[int, str]:
        """Processes of this service that belong to no running part: command by pid."""
        ours: set[int] = set()
        for process in self.processes.values():
            if process.poll() is None:
                ours |= {process.pid, *children(process.pid)}
        return {
            pid: command
            for pid, command in marked(self._mark).items()
            if pid not in ours and command not in RAY_AGENTS
        }

    def processes_left(self) -> dict[int, str]:
        """All of its processes: command by pid."""
        return marked(self._mark)

    # Failpoints.

    def arm(self, point: str, action: str) -> None:
        """Arm a failpoint for the next process that passes it (see `ipserver.failpoints`)."""
        beside = self.failpoints / f".{point}"
        beside.write_text(action)
        beside.rename(self.failpoints / point)

    def await_reached(self, point: str, seconds: float = 300.0) -> None:
        """Wait until a process was killed, or waits, at a point.

        The forwarder has a low priority: on a busy machine a second of its work takes minutes.
        """
        wait_for((self.failpoints / f"{point}.reached").exists, seconds, lambda: f"{point} is not reached")

    def release(self, point: str = "") -> None:
        """Disarm a point, or all, and let all processes continue that wait there."""
        for path in self.failpoints.glob(f"{point}*"):
            path.unlink(missing_ok=True)

    # Actions of users.

    @contextmanager
    def client(self) -> Iterator[iplab.Client]:
        """The SDK, connected to the API."""
        with iplab.connect(self.address) as client:
            yield client

    def log(self, name: str) -> Path:
        """Log file of a part."""
        return self.folder / "logs" / f"{name}.log"

    def tail(self, name: str, lines: int = 25) -> str:
        """The last lines of a part's log."""
        text = self.log(name).read_text(errors="replace").splitlines()[-lines:]
        return f"the end of the log of {name}:\n" + "\n".join(text)

    def close(self) -> None:
        """End everything, in any state."""
        self.release()
        for name in ("api", "dispatch", "forward", "mlflow", "relay"):
            process = self.processes.get(name)
            if process is not None and process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        end_marked(self._mark)
        self.store.close()


def wait_for(
    condition: Callable[[], object], seconds: float, otherwise: Callable[[], str], poll: float = 0.05
) -> None:
    """Return when a condition holds; AssertionError with the text of `otherwise` if it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {otherwise()}"
        time.sleep(poll)


def loopback_only() -> tuple[list[str], str]:
    """A command that runs another one in a network namespace that has only `lo`; or why there is none."""
    for unshare in (["unshare", "-n"], ["unshare", "-rn"]):
        command = [*unshare, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        try:
            done = subprocess.run([*command, "true"], check=False, capture_output=True, text=True, timeout=60)
        except FileNotFoundError:
            return [], "unshare and ip (util-linux, iproute2) are not installed"
        if done.returncode == 0:
            return command, ""
    return [], f"no network namespace can be made here: {done.stderr.strip()}"

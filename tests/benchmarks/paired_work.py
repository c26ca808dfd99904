"""Work of which `tests.benchmarks.paired` compares the costs in two checkouts.

    python -P paired_work.py NAME [ARGUMENT...]

runs as a script, with the packages of the checkout that PYTHONPATH names. So it uses only what the benchmarks
of all commits that may be compared have. For each amount of work on standard input it prints a line of JSON:
the figures of a unit of work.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

Figures = dict[str, float]
Work = Callable[[float], Figures]
WATCHES, STORED_RUNS = 50, 2_000
PATIENCE = 600.0  # seconds; other work on the machine may take most of it
_TICKS = os.sysconf("SC_CLK_TCK")


def pack(arguments: str) -> Iterator[Work]:
    """Updates of a pack on one thread.

    Args:
        arguments: Those of `Case`, as JSON.
    """
    import torch

    from tests.benchmarks.contestants import Case
    from tests.benchmarks.contestants import pack as training

    torch.set_num_threads(1)
    step = training(Case(**json.loads(arguments)))
    step(3)

    def work(updates: float) -> Figures:
        begun = time.process_time()
        step(int(updates))
        return {"cpu": (time.process_time() - begun) / int(updates)}

    yield work


def commits() -> Iterator[Work]:
    """Commits of slices of 16 runs by this process, for a number of seconds."""
    from ipserver.store import open_store
    from tests.benchmarks import durability

    with _store() as (dsn, _):

        def work(seconds: float) -> Figures:
            name = f"c{uuid.uuid4().hex[:12]}"
            with open_store(dsn) as store:
                durability._planned(store, name, runs=16, packs=1)
            begun = time.process_time()
            times = durability._commit(dsn, [name], seconds)
            return {"cpu": (time.process_time() - begun) / len(times)}

        yield work


def submits() -> Iterator[Work]:
    """Submits of four runs for a number of seconds; the API's processor time."""
    from tests.benchmarks import durability

    with _store() as (dsn, home), durability.api(dsn, home) as (address, api):

        def work(seconds: float) -> Figures:
            begun, count = _used([api]), 0.0
            while not count:
                count = durability.submits(address, 1, seconds) * seconds
            return {"cpu": (_used([api]) - begun) / count}

        yield work


def watches() -> Iterator[Work]:
    """Events of an experiment with open watches: the time until all have one, the API's processor time."""
    from tests.benchmarks import durability

    with _store() as (dsn, home), durability.api(dsn, home) as (address, api):
        yield lambda events: asyncio.run(_watch(dsn, address, api, int(events)))


async def _watch(dsn: str, address: str, api: int, events: int) -> Figures:
    import grpc

    from iplab.v1 import experiment_service_pb2 as pb
    from iplab.v1.experiment_service_pb2_grpc import ExperimentServiceStub
    from ipserver.store import open_store
    from tests.ipserver.support import small_spec, submit

    name = f"w{uuid.uuid4().hex[:12]}"
    everybody, arrived = asyncio.Event(), 0

    async def watch() -> None:
        nonlocal arrived
        async with grpc.aio.insecure_channel(address) as channel:
            request = pb.WatchExperimentRequest(name=f"experiments/{name}")
            async for response in ExperimentServiceStub(channel).WatchExperiment(request):
                arrived += sum(event.HasField("notice") for event in response.events)
                if arrived >= WATCHES:
                    everybody.set()

    with open_store(dsn) as store:
        submit(store, small_spec(), name)

        async def event(number: int) -> None:
            nonlocal arrived
            arrived = 0
            everybody.clear()
            await asyncio.to_thread(store.notice, name, f"number {number}")
            await asyncio.wait_for(everybody.wait(), PATIENCE)

        tasks = [asyncio.create_task(watch()) for _ in range(WATCHES)]
        await event(0)  # opens the watches
        begun, used = time.perf_counter(), _used([api])
        for number in range(events):
            await event(number + 1)
        found = {"latency": time.perf_counter() - begun, "cpu": _used([api]) - used}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        store.cancel_experiment(name)
    return {figure: seconds / events for figure, seconds in found.items()}


def api_restarts() -> Iterator[Work]:
    """Starts of an API after kill -9, with ended runs stored: time and processor time until it answers."""
    from ipserver.store import open_store
    from tests.benchmarks import durability

    with _store() as (dsn, home):
        with open_store(dsn) as store:
            durability._fill(store, STORED_RUNS)

        def work(starts: float) -> Figures:
            found = {"recovery": 0.0, "cpu": 0.0}
            for _ in range(int(starts)):
                for figure, seconds in _answered(dsn, home).items():
                    found[figure] += seconds / int(starts)
            return found

        yield work


def _answered(dsn: str, home: Path) -> Figures:
    import iplab

    log = home / "api.log"
    command = [sys.executable, "-m", "ipserver", "api", "--home", str(home), "--address", "127.0.0.1:0"]
    begun = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--store", dsn], stderr=file)
    try:
        while "listening on port" not in (text := log.read_text()):
            if process.poll() is not None:
                raise SystemExit(f"the API did not start: {text}")
            time.sleep(0.01)
        port = text.partition("listening on port ")[2].split()[0]
        with iplab.connect(f"127.0.0.1:{port}") as client:
            client.experiment("old-0000")
        return {"recovery": time.perf_counter() - begun, "cpu": _used([process.pid])}
    finally:
        process.kill()
        process.wait()


def dispatcher_restarts() -> Iterator[Work]:
    """Starts of a dispatcher after kill -9: the time until training goes on, its and Ray's processor time.

    The dead dispatcher's lease has expired before: how long the next one waits for that is a setting.
    """
    from ipserver.store import open_store
    from tests.benchmarks import durability
    from tests.ipserver.support import small_spec, submit

    os.environ["IPLAB_LEASE_SECONDS"] = "3"
    with _store() as (dsn, home), open_store(dsn) as store:
        durability._fill(store, STORED_RUNS)
        grid = {"parameterizations": [{"preset": "mup"}], "widths": [256], "seeds": [0]}  # one pack
        submit(store, small_spec(steps=10**7, record={"weights": "none"}, grid=grid), "going")

        def committed() -> int:
            return store.get_run("going", 0).committed_steps

        def saved() -> set[object]:
            return {file for file in store.named_files() if file.checkpoint}

        def work(_: float) -> Figures:
            dead, checkpoints = committed(), saved()
            with durability._dispatcher(home) as dispatcher:
                seconds = durability._until(lambda: committed() > dead, PATIENCE)
                found = {"recovery": seconds, "cpu": _used(_tree(dispatcher.pid))}
                durability._until(lambda: bool(saved() - checkpoints), PATIENCE)
                processes = _tree(dispatcher.pid)
                dispatcher.kill()
                dispatcher.wait()
            _ended(processes)
            time.sleep(3)
            return found

        yield work


def service(runs: str) -> Iterator[Work]:
    """`ipserver up` from its start until it has trained a sweep and MLflow has it: all of its processes."""
    import iplab
    from tests.benchmarks import service as sweep

    os.environ["IPLAB_WEB"] = "off"  # there was none

    def work(_: float) -> Figures:
        with tempfile.TemporaryDirectory(prefix="iplab-") as home:
            begun = time.perf_counter()
            with sweep.service(Path(home)) as address, iplab.connect(address) as client:
                experiment = client.create(sweep.spec(int(runs)), experiment_id="benchmark")
                experiment.wait()
                while experiment.refresh().mlflow_pending_runs:
                    time.sleep(0.2)
                return {"in_mlflow": time.perf_counter() - begun, "cpu": _used(_tree(os.getpid())[1:])}

    yield work


@contextmanager
def _store() -> Iterator[tuple[str, Path]]:
    """A new store on SQLite and its folder."""
    from ipserver.store import migrate

    with tempfile.TemporaryDirectory(prefix="iplab-") as folder:
        migrate(dsn := f"sqlite:///{folder}/iplab.db")
        yield dsn, Path(folder)


def _fields(process: int) -> list[str]:
    """Fields of /proc/PID/stat from the parent's id on; none of a process that has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _used(processes: list[int]) -> float:
    """Processor seconds of processes, and of the children that they have waited for."""
    return sum(sum(map(int, _fields(process)[10:14])) for process in processes) / _TICKS


def _tree(root: int) -> list[int]:
    """A process and all below it."""
    parents = {
        int(path.name): int(fields[0])
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and (fields := _fields(int(path.name)))
    }
    found = [root]
    for process in found:
        found.extend(child for child, parent in parents.items() if parent == process)
    return found


def _ended(processes: list[int], patience: float = 20.0) -> None:
    """Return when processes have ended; those that live on for long are killed."""
    end = time.monotonic() + patience
    while (left := [process for process in processes if _fields(process)]) and time.monotonic() < end:
        time.sleep(0.1)
    for process in left:
        os.kill(process, signal.SIGKILL)


WORK: dict[str, Callable[..., Iterator[Work]]] = {
    made.__name__: made
    for made in (pack, commits, submits, watches, api_restarts, dispatcher_restarts, service)
}


def main(name: str, *arguments: str) -> None:
    """See the top of this file."""
    with ExitStack() as stack:
        work = stack.enter_context(contextmanager(WORK[name])(*arguments))
        for line in sys.stdin:
            print(json.dumps(work(float(line))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

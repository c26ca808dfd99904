"""Costs of durability and of a crash: `python -m tests.benchmarks.durability`, four minutes.

On SQLite, and on PostgreSQL where IPLAB_TEST_POSTGRES holds a DSN:

* submits: experiments of four runs per second, by the SDK through an API process, from one and eight callers;
* commits: slices of packs of 16 runs (a segment of 4 kB, every run's summary) per second, by one thread,
  by eight of one process, by two processes of four, and the slowest of a hundred;
* watches: 200 open watches of one experiment: time from the commit of an event until the last watch has it,
  and the API's memory.

On SQLite, with a dispatcher and its Ray, with nothing else stored and with 10,000 ended runs:

* start: from the start of the dispatcher to the first commit;
* recovery: the same after kill -9 in the middle of training: the dead dispatcher's lease (15 s) expires, and
  the steps committed since the checkpoint are trained again;
* again: the length of these steps in seconds of training. Checkpoints are written every 10 s here.

Baseline: durable writes of 4 kB per second to this disk (write, fsync).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import grpc
import sqlalchemy as sa

import iplab
from iplab.v1 import experiment_service_pb2 as pb
from iplab.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from ipserver.store import Store, migrate, open_store
from ipserver.store.records.packs import NewPack
from ipserver.store.records.slices import SliceCommit
from ipserver.store.states import RunState
from ipserver.store.summary import Summary
from ipserver.store.tables import checkpoints
from tests.benchmarks import output
from tests.ipserver.support import small_spec, submit

WATCHES, STORED_RUNS = 200, 10_000
_SPEC = {
    "dataset": "digits",
    "batch_size": 32,
    "steps": 20,
    "grid": {
        "parameterizations": [{"preset": "mup"}],
        "widths": [16],
        "hidden_layers": [2],
        "activations": ["relu"],
        "base_learning_rates": [0.1],
        "seeds": [0, 1, 2, 3],
    },
}
Row = dict[str, float]


def syncs(folder: Path, seconds: float) -> float:
    """Writes of 4 kB per second, each on disk before the next."""
    with (folder / "sync").open("ab", buffering=0) as file:
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            count += 1
    return count / seconds


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """A new database of each kind, by its name."""
    found = {"sqlite": f"sqlite:///{folder}/iplab.db"}
    url = os.environ.get("IPLAB_TEST_POSTGRES")
    name = f"iplab_bench_{uuid.uuid4().hex[:8]}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT") if url else None
    if url and admin:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        found["postgresql"] = sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    try:
        for dsn in found.values():
            migrate(dsn)
        yield found
    finally:
        if admin:
            with admin.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def api(dsn: str, home: Path) -> Iterator[tuple[str, int]]:
    """An API process; yields its address and process id."""
    command = [sys.executable, "-m", "ipserver", "api", "--home", str(home), "--address", "127.0.0.1:0"]
    log = home / "api.log"
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--store", dsn], stderr=file)
    try:
        while "listening on port" not in (text := log.read_text()):
            if process.poll() is not None:
                raise SystemExit(f"the API did not start: {text}")
            time.sleep(0.1)
        yield f"127.0.0.1:{text.partition('listening on port ')[2].split()[0]}", process.pid
    finally:
        process.terminate()
        process.wait()


def submits(address: str, callers: int, seconds: float) -> float:
    """Experiments per second."""
    counts = [0] * callers
    end = time.perf_counter() + seconds

    def call(number: int) -> None:
        with iplab.connect(address) as client:
            while time.perf_counter() < end:
                client.create({"spec": _SPEC})
                counts[number] += 1

    _together(call, callers)
    return sum(counts) / seconds


def _together(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def commits(dsn: str, processes: int, threads: int, seconds: float) -> Row:
    """Slices per second, and the 99th percentile of their durations in milliseconds."""
    experiments = [[f"c{uuid.uuid4().hex[:12]}" for _ in range(threads)] for _ in range(processes)]
    with open_store(dsn) as store:
        for name in chain.from_iterable(experiments):
            _planned(store, name, runs=16, packs=1)
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        pool.map(len, [""] * processes)  # started before the clock is
        times = pool.starmap(_commit, [(dsn, names, seconds) for names in experiments])
    together = sorted(chain.from_iterable(times))
    return {"per_s": len(together) / seconds, "p99_ms": 1e3 * together[int(0.99 * len(together))]}


def _commit(dsn: str, experiments: list[str], seconds: float) -> list[float]:
    """Durations of commits, one thread per experiment."""
    times: list[list[float]] = [[] for _ in experiments]
    with open_store(dsn) as store:
        packs = [store.lease_pack(name, "benchmark", 3600) for name in experiments]
        end = time.perf_counter() + seconds

        def work(number: int) -> None:
            pack = packs[number]
            assert pack is not None
            step, begun = 0, time.perf_counter()
            while begun < end:
                step += 1
                store.commit_slice(pack.experiment.id, pack.id, pack.token, _slice(pack.runs, step, step))
                now = time.perf_counter()
                times[number].append(now - begun)
                begun = now

        _together(work, len(experiments))
    return list(chain.from_iterable(times))


def _planned(store: Store, name: str, runs: int, packs: int) -> None:
    """An experiment with waiting packs, planned here."""
    submit(store, small_spec(steps=10**6, grid=_SPEC["grid"] | {"seeds": list(range(runs))}), name)
    leased = store.lease_unplanned("benchmark", 60)
    assert leased is not None
    size = runs // packs
    members = [tuple(range(first, first + size)) for first in range(0, runs, size)]
    plan = [
        NewPack(2, 16, "relu", id=f"p{i:05d}", run_indices=indices, steps=10**6, memory_bytes=1)
        for i, indices in enumerate(members)
    ]
    store.save_plan(leased[0].id, "benchmark", plan)


def _slice(runs: tuple, first: int, last: int, *, end: bool = False) -> SliceCommit:
    indices = [run.index for run in runs]
    return SliceCommit(
        first,
        last,
        segment=os.urandom(4096),
        summaries={index: Summary(last_train_loss=0.5) for index in indices},
        ended=dict.fromkeys(indices, RunState.SUCCEEDED) if end else {},
        finished=end,
    )


async def watches(dsn: str, address: str, process: int, *, rounds: int = 20, count: int = WATCHES) -> Row:
    """Open watches of one experiment: median and longest time until all have an event, in milliseconds."""
    with open_store(dsn) as store:
        submit(store, small_spec(), "watched")
        before = _memory(process)
        arrived: list[float] = []
        channels = [grpc.aio.insecure_channel(address) for _ in range(4)]
        everybody = asyncio.Event()

        async def watch(number: int) -> None:
            stub = ExperimentServiceStub(channels[number % len(channels)])
            async for response in stub.WatchExperiment(pb.WatchExperimentRequest(name="experiments/watched")):
                arrived.extend(time.perf_counter() for event in response.events if event.HasField("notice"))
                if len(arrived) >= count:
                    everybody.set()

        tasks = [asyncio.create_task(watch(number)) for number in range(count)]
        times = []
        for number in range(rounds + 1):
            arrived.clear()
            everybody.clear()
            begun = time.perf_counter()
            await asyncio.to_thread(store.notice, "watched", f"number {number}")
            await asyncio.wait_for(everybody.wait(), 60)
            times.append(1e3 * (max(arrived) - begun))
        memory = _memory(process)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channel in channels:
            await channel.close()
    return {
        "median_ms": statistics.median(times[1:]),  # the first one opens them
        "longest_ms": max(times[1:]),
        "api_mib": memory,
        "per_watch_kib": 1024 * (memory - before) / count,
    }


def _memory(process: int) -> float:
    """Resident memory in MiB."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def recovery(stored: int) -> Row:
    """A dispatcher starts, is killed while it trains, and starts again, with a number of runs stored."""
    with tempfile.TemporaryDirectory(prefix="iplab-") as folder:
        home = Path(folder)
        dsn = f"sqlite:///{home}/iplab.db"
        migrate(dsn)
        with open_store(dsn) as store:
            _fill(store, stored)
            grid = _SPEC["grid"] | {"widths": [256], "seeds": [0]}  # one pack
            submit(store, small_spec(steps=10**7, record={"weights": "none"}, grid=grid), "going")

            def committed() -> int:
                return store.get_run("going", 0).committed_steps

            with _dispatcher(home) as first:
                start = _until(lambda: committed() > 0)
                _until(lambda: any(file.checkpoint for file in store.named_files()))
                before = committed(), time.perf_counter()
                time.sleep(5.0)
                rate = (committed() - before[0]) / (time.perf_counter() - before[1])
                first.kill()
                first.wait()
            dead = committed()
            newest = sa.select(sa.func.max(checkpoints.c.step))
            saved = store.database.read(
                lambda transaction: transaction.connection.execute(newest).scalar_one()
            )
            with _dispatcher(home):
                recovered = _until(lambda: committed() > dead)
                store.cancel_experiment("going")
    return {
        "start_s": start,
        "recovery_s": recovered,
        "again_s": (dead - saved) / rate,
    }


def _fill(store: Store, runs: int) -> None:
    """Ended experiments of 500 runs, in packs of 50."""
    for number in range(runs // 500):
        name = f"old-{number:04d}"
        _planned(store, name, runs=500, packs=10)
        while pack := store.lease_pack(name, "benchmark", 60):
            done = _slice(pack.runs, 1, pack.steps, end=True)
            store.commit_slice(name, pack.id, pack.token, done)


@contextmanager
def _dispatcher(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """With Ray in its own network namespace that has only loopback, if this user may create one."""
    command = [sys.executable, "-m", "ipserver", "dispatch", "--home", str(home)]
    if os.getuid() == 0 and shutil.which("unshare") and shutil.which("ip"):
        command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]
    with (home / "dispatch.log").open("ab") as log:
        environment = os.environ | {"IPLAB_CHECKPOINT_SECONDS": "10"}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _until(reached: Callable[[], bool], limit: float = 120.0) -> float:
    """Seconds until a condition holds."""
    begun = time.perf_counter()
    while not reached():
        if time.perf_counter() - begun > limit:
            raise SystemExit(f"not so after {limit:g} s")
        time.sleep(0.05)
    return time.perf_counter() - begun


def run(seconds: float) -> dict[str, dict[str, float]]:
    """Measure everything; return the names of figures by column."""
    result: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="iplab-") as folder, databases(Path(folder)) as found:
        result["disk"] = {"syncs/s": syncs(Path(folder), 1.0)}
        for name, dsn in found.items():
            own = result[name] = {}
            home = Path(folder) / name
            home.mkdir()
            with api(dsn, home) as (address, process):
                for callers in (1, 8):
                    own[f"submits/s, {callers} callers"] = submits(address, callers, seconds)
                for key, value in asyncio.run(watches(dsn, address, process)).items():
                    own[f"{WATCHES} watches, {key}"] = value
            _close_plans(dsn)
            for processes, threads in ((1, 1), (1, 8), (2, 4)):
                for key, value in commits(dsn, processes, threads, seconds).items():
                    own[f"commits, {processes} x {threads}, {key}"] = value
    for stored in (0, STORED_RUNS):
        result[f"{stored:,} runs"] = recovery(stored)
    return result


def _close_plans(dsn: str) -> None:
    """Cancel the experiments that the submits left, so that they are not planned."""
    with open_store(dsn) as store:
        while (leased := store.lease_unplanned("benchmark", 60)) is not None:
            store.cancel_experiment(leased[0].id)


def main() -> None:
    """Print tables and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each rate")
    arguments = parser.parse_args()
    result = run(arguments.seconds)
    for columns in (("disk",), tuple(c for c in ("sqlite", "postgresql") if c in result), tuple(result)[-2:]):
        print(f"\n{'':<28}" + "".join(f"{column:>14}" for column in columns))
        for figure in result[columns[0]]:
            print(f"{figure:<28}" + "".join(f"{result[column][figure]:>14.1f}" for column in columns))
    output.give(result, arguments.json)


if __name__ == "__main__":
    main()

"""Costs of a backlog and of planning: `python -m tests.benchmarks.scheduling`, two minutes.

On SQLite, and on PostgreSQL where IPLAB_TEST_POSTGRES holds a DSN:

* pass: a dispatcher's complete pass, with 100 and with 10,000 waiting experiments of five sizes, on a cluster
  that another dispatcher uses up, with and without nodes that can be added. Figures are the median and the
  slowest of 40, and the ratio to the median of 100 experiments. Two of the five sizes fit on no present node;
  in the first passes their experiments are notified, some in each pass. "CPU" is the CPU time of this
  process, which does not depend on other processes;
* meanwhile: the slowest and the median commit of another thread while nothing else happens, while an
  experiment of 20,000 runs is created, and while its plan is saved.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa

from ipserver.environment.settings import load_settings
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import Store, open_store
from ipserver.store.records.packs import NewPack
from ipserver.store.shapes import shape_of
from ipserver.store.tables import experiments, packs
from ipserver.workers.executor import Worker
from ipserver.workers.jobs import PackJob, SliceReport
from ipserver.workers.local_executor import LocalExecutor
from tests.benchmarks import output
from tests.benchmarks.durability import _commit, _planned, databases
from tests.ipserver.support import small_spec, submit

FEW, MANY, PASSES, RUNS = 100, 10_000, 40, 20_000
CORES = 8.0
SHAPES = [{"cpus": cpus} for cpus in (1, 2, 4)] + [{"cpus": 8, "gpus": 1}, {"cpus": 1, "custom": {"disk": 1}}]
EXPECTED = '[{"cpus": 8, "gpus": 1, "disk": 1}]'
GRID = {"parameterizations": [{"preset": "mup"}], "seeds": [0]}


class FullCluster(LocalExecutor):
    """A fake: another dispatcher uses up its eight cores, and added nodes never come. Nothing is trained."""

    def __init__(self) -> None:
        super().__init__(CORES)
        self.cluster = "benchmark"

    def start(self, job: PackJob) -> Worker:
        """A worker whose node never comes."""
        return Pending()

    def ready(self, workers: Sequence[Worker], timeout: float) -> list[tuple[Worker, SliceReport]]:
        """Always empty."""
        return []


class Pending:
    """A worker without a node."""

    def advance(self, ended: Collection[int], *, checkpoint: bool = False) -> None:
        """Does nothing."""

    def alive(self) -> bool:
        return False

    def started(self) -> bool:
        return False

    def node(self) -> str:
        return ""

    def release(self) -> None:
        """Nothing to end."""

    def stop(self) -> None:
        """Nothing to end."""


def backlog(store: Store, count: int) -> None:
    """Waiting experiments of five sizes and three priorities, each with one pack."""
    submit(store, small_spec(grid=GRID), f"template{count}")
    leased = store.lease_unplanned("benchmark", 60)
    assert leased is not None
    name = leased[0].id
    store.save_plan(
        name, "benchmark", [NewPack(2, 16, "relu", id="p0000", run_indices=(0,), steps=20, memory_bytes=1)]
    )
    with store.database.engine.begin() as connection:
        experiment, pack = (
            dict(connection.execute(sa.select(table).where(key == name)).one()._mapping)
            for table, key in ((experiments, experiments.c.id), (packs, packs.c.experiment))
        )
        rows, waiting = [], []
        for number in range(count - 1):
            shape = shape_of({key: value for key, value in _amounts(number).items() if value})
            new = {"id": f"{name}-{number}", "priority": number % 3, "shape": shape, "queue": shape}
            rows.append(experiment | new | {"create_time": experiment["create_time"] + number})
            waiting.append(pack | {"experiment": new["id"]})
        connection.execute(sa.insert(experiments), rows)
        connection.execute(sa.insert(packs), waiting)


def _amounts(number: int) -> Mapping[str, float]:
    chosen = dict(SHAPES[number % len(SHAPES)])
    custom = chosen.pop("custom", {})
    return {**chosen, **custom}  # type: ignore[dict-item]


def passes(dsn: str, expected: str) -> list[tuple[float, float]]:
    """Durations of complete passes in seconds: by the clock, and of CPU time of this process."""
    clock = iter(range(10**9))
    with tempfile.TemporaryDirectory() as home, open_store(dsn) as store:
        settings = load_settings(home=home, expected_nodes=expected, placement_timeout_seconds=1e9)
        executor = FullCluster()
        dispatcher = Dispatcher(store, executor, settings, "b", monotonic=lambda: float(next(clock)))
        found = []
        for _ in range(PASSES):
            begun, used = time.perf_counter(), time.process_time()
            dispatcher.step()
            found.append((time.perf_counter() - begun, time.process_time() - used))
        dispatcher.drain(0.0)
        return found


def meanwhile(dsn: str, work: Callable[[Store], None] | None) -> dict[str, float]:
    """Durations of one thread's commits, in milliseconds, during an action."""
    name = f"m{time.time_ns()}"
    with open_store(dsn) as store:
        _planned(store, name, runs=16, packs=1)
        done: list[list[float]] = []
        seconds = 5.0
        thread = threading.Thread(target=lambda: done.append(_commit(dsn, [name], seconds)))
        thread.start()
        time.sleep(0.3)
        begun = time.perf_counter()
        if work is not None:
            work(store)
        took = time.perf_counter() - begun
        thread.join()
    times = sorted(done[0])
    return {"took_s": took, "median_ms": 1e3 * statistics.median(times), "slowest_ms": 1e3 * times[-1]}


def main() -> None:
    """Measure, and print."""
    options = output.parser(__doc__).parse_args()
    rows, result = [], {}
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder)) as found:
        for kind, dsn in found.items():
            with open_store(dsn) as store:
                pack = _hold(store)
                medians = {}
                for count in (FEW, MANY):
                    backlog(store, count)
                    for expected in ("[]", EXPECTED):
                        store.renew([pack], 3600)
                        times, cpu = zip(*passes(dsn, expected), strict=True)
                        median = 1e3 * statistics.median(times)
                        medians.setdefault(expected, median)
                        rows.append(
                            {
                                "store": kind,
                                "waiting": count,
                                "expected nodes": "no" if expected == "[]" else "yes",
                                "pass, ms": f"{median:.1f}",
                                "slowest": f"{1e3 * max(times):.1f}",
                                "CPU": f"{1e3 * statistics.median(cpu):.1f}",
                                "against 100": f"{median / medians[expected]:.2f}",
                            }
                        )
                        print(rows[-1], flush=True)
                        result[f"{kind} {count} {'' if expected == '[]' else 'expected'}".strip()] = median
        output.table(rows)
        large = []
        for kind, dsn in found.items():
            for what, work in (("nothing", None), ("creating", _create), ("saving the plan", _plan)):
                row = meanwhile(dsn, work)
                large.append({"store": kind, "meanwhile": what, **{key: f"{row[key]:.1f}" for key in row}})
                result |= {f"{kind} {what} {key}": value for key, value in row.items()}
        output.table(large)
    output.give(result, options.json)


def _hold(store: Store) -> tuple[str, str, int]:
    """Another dispatcher's pack, which uses all cores."""
    submit(store, small_spec(grid=GRID, resources={"cpus": CORES}), "held", priority=9)
    leased = store.lease_unplanned("benchmark", 60)
    assert leased is not None
    store.save_plan(
        "held", "benchmark", [NewPack(2, 16, "relu", id="p0000", run_indices=(0,), steps=20, memory_bytes=1)]
    )
    pack = store.lease_pack("held", "another", 3600)
    assert pack is not None
    with store.database.engine.begin() as connection:
        connection.execute(
            sa.update(packs).where(packs.c.experiment == "held").values(cluster="benchmark", node="here")
        )
    return "held", "p0000", pack.token


def _create(store: Store) -> None:
    spec = small_spec(grid=GRID | {"seeds": list(range(RUNS))})
    submit(store, spec, "large", priority=-1)  # planned last


def _plan(store: Store) -> None:
    leased = store.lease_unplanned("benchmark", 60)
    assert leased is not None
    experiment, runs = leased
    plan = [
        NewPack(
            2,
            16,
            "relu",
            id=f"p{first:05d}",
            run_indices=tuple(range(first, min(first + 16, len(runs)))),
            steps=20,
            memory_bytes=1,
        )
        for first in range(0, len(runs), 16)
    ]
    store.save_plan(experiment.id, "benchmark", plan)


if __name__ == "__main__":
    main()

"""What one caller's requests cost another: `python -m tests.benchmarks.attacks`, two minutes.

One API process on SQLite (and on PostgreSQL where IPLAB_TEST_POSTGRES holds a DSN), loopback only. While 16
callers of another process repeat one kind of expensive or wrong request for some seconds, a second caller
reads an experiment over and over and a third asks for the health. Per attack: requests that were answered,
the second caller's latency (50 %, 99 %), the slowest answer of health, and the API's memory. The first row,
without an attack, is the baseline.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from iplab.v1 import experiment_service_pb2 as experiments
from iplab.v1 import parameterization_service_pb2 as parameterizations
from iplab.v1 import report_service_pb2 as reports
from iplab.v1 import run_service_pb2 as runs
from iplab.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from ipserver.store import migrate, open_store
from tests.benchmarks import output
from tests.benchmarks.durability import api
from tests.ipserver.api.conftest import create_request
from tests.ipserver.support import small_spec, submit

CALLERS: Final = 16
_MEBI: Final = 2**20


def attacks() -> dict[str, tuple[str, bytes]]:
    """Method and request of each attack."""
    exponents = parameterizations.AnalyzeParameterizationRequest(hidden_layers=1000)
    for name in ("a", "b", "c"):
        getattr(exponents.exponents, name).extend(f"{i}/{i + 1}" for i in range(1001))
    deep = parameterizations.AnalyzeParameterizationRequest(preset="sp", hidden_layers=1000, steps=5000)
    maps = parameterizations.MapPhasesRequest(preset="ip", hidden_layers=6, activation="tanh")
    maps.free.add(name="c", low="-2", high="2")
    maps.free.add(name="a_last", low="0", high="2")
    unknown = runs.QueryMetricsRequest(parent="experiments/e", metrics=[f"metric {i}" for i in range(25_000)])
    few = runs.QueryMetricsRequest(parent="experiments/e", metrics=[f"metric {i}" for i in range(200)])
    wrong = create_request("w", grid={"activations": [f"rel{i}" for i in range(2000)]})
    large = create_request("l", grid={"seeds": list(range(20_000))}, validate_only=True)
    token = experiments.ListExperimentsRequest(page_token="W1tb" * 2**22)
    metrics, analyze = "RunService/QueryMetrics", "ParameterizationService/AnalyzeParameterization"
    create, listing = "ExperimentService/CreateExperiment", "ExperimentService/ListExperiments"
    return {
        "330 kB of unknown metrics": (metrics, unknown.SerializeToString()),
        "200 unknown metrics": (metrics, few.SerializeToString()),
        "page token of 16 MB": (listing, token.SerializeToString()),
        "exponents of 1,000 layers": (analyze, exponents.SerializeToString()),
        "5,000 steps of 1,000 layers": (analyze, deep.SerializeToString()),
        "phase map": ("ParameterizationService/MapPhases", maps.SerializeToString()),
        "2,000 unknown activations": (create, wrong.SerializeToString()),
        "20,000 runs, not created": (create, large.SerializeToString()),
        "malformed bytes": (create, b"\xff" * 1000),
        "reports": (
            "ReportService/CheckExperiment",
            reports.CheckExperimentRequest(name="experiments/e").SerializeToString(),
        ),
    }


def _attack(address: str, method: str, request: bytes, begin: Event, stop: Event) -> None:
    """Of a process of its own: callers that repeat one request until they are told to stop."""

    def call() -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(address, options=options) as channel:
            ask = channel.unary_stream(f"/iplab.v1.{method}")
            while not stop.is_set():
                try:
                    for _ in ask(request, timeout=60):
                        pass
                except grpc.RpcError:
                    pass
                with done.get_lock():
                    done.value += 1

    done = multiprocessing.Value("i", 0)
    threads = [threading.Thread(target=call, daemon=True) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    begin.set()
    stop.wait()
    print(f"    {done.value} answered", flush=True)
    os._exit(0)  # a request in flight is given up


@contextmanager
def _attacked(address: str, attack: tuple[str, bytes] | None) -> Iterator[None]:
    if attack is None:
        yield
        return
    context = multiprocessing.get_context("spawn")
    begin, stop = context.Event(), context.Event()
    process = context.Process(target=_attack, args=(address, *attack, begin, stop), daemon=True)
    process.start()
    begin.wait(60)
    try:
        yield
    finally:
        stop.set()
        process.join(60)


def measure(address: str, process: int, attack: tuple[str, bytes] | None, seconds: float) -> dict[str, float]:
    """Latencies of others during an attack, in milliseconds, and the API's memory in MiB."""
    with grpc.insecure_channel(address) as channel, _attacked(address, attack):
        stub = ExperimentServiceStub(channel)
        healths = health_pb2_grpc.HealthStub(channel)
        request = experiments.GetExperimentRequest(name="experiments/e")
        gets: list[float] = []
        checks: list[float] = []
        resident, ends = 0.0, time.perf_counter() + seconds
        while time.perf_counter() < ends:
            gets.append(_timed(lambda: stub.GetExperiment(request, timeout=60)))
            checks.append(_timed(lambda: healths.Check(health_pb2.HealthCheckRequest(), timeout=60)))
            resident = max(resident, _resident(process))
            time.sleep(0.01)
    gets.sort()
    return {
        "Get p50, ms": round(gets[len(gets) // 2], 1),
        "Get p99, ms": round(gets[min(int(len(gets) * 0.99), len(gets) - 1)], 1),
        "health max, ms": round(max(checks), 1),
        "API MiB": round(resident),
    }


def _timed(call: object) -> float:
    begun = time.perf_counter()
    call()  # type: ignore[operator]
    return 1000 * (time.perf_counter() - begun)


def _resident(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEBI


def _on(dsn: str, seconds: float) -> dict[str, dict[str, float]]:
    migrate(dsn)
    with open_store(dsn) as store:
        submit(store, small_spec(), "e")
    with tempfile.TemporaryDirectory() as folder, api(dsn, Path(folder)) as (address, process):
        found = {}
        for name, attack in chain([("nothing", None)], attacks().items()):
            print(f"  {name}", flush=True)
            found[name] = measure(address, process, attack, seconds)
        return found


def main() -> None:
    """Print the table, and JSON where it is wanted."""
    parser = output.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each attack")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        found["sqlite"] = _on(f"sqlite:///{folder}/iplab.db", options.seconds)
    if os.environ.get("IPLAB_TEST_POSTGRES"):
        from tests.ipserver.postgres import new_schema

        with new_schema() as dsn:
            found["postgresql"] = _on(dsn, options.seconds)
    for store, rows in found.items():
        print(f"\n{store}")
        output.table([{"attack": name, **row} for name, row in rows.items()])
    output.give(found, options.json)


if __name__ == "__main__":
    main()

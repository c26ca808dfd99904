"""Latency of every method with 100,000 runs stored: `python -m tests.benchmarks.laboratory`, ten minutes.

One API process on SQLite (and on PostgreSQL where IPLAB_TEST_POSTGRES holds a DSN), loopback only, with ten
ended experiments of 10,000 runs each. Callers of another process, 32 and one alone, repeat each method for
some seconds; writes are made in the order of an experiment's life, and of a study's. Per method: calls a
second, latency (50 %, 99 %), and what one caller alone waits (50 %), which is the baseline.

Then, each by one caller: an experiment of 10,000 runs is submitted; an event reaches 500 watches; a report
over 10,000 runs is made, while another caller reads an experiment over and over.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import Message

from iplab.v1 import audit_service_pb2 as audit
from iplab.v1 import catalog_service_pb2 as catalog
from iplab.v1 import experiment_service_pb2 as experiments
from iplab.v1 import parameterization_service_pb2 as parameterizations
from iplab.v1 import quota_service_pb2 as quotas
from iplab.v1 import report_service_pb2 as reports
from iplab.v1 import run_service_pb2 as runs
from iplab.v1 import study_service_pb2 as studies
from ipserver.store import Store, open_store
from ipserver.store.records.packs import NewPack
from ipserver.store.records.runs import Failure
from ipserver.store.records.studies import StudyOutcome
from ipserver.store.states import FailureReason, StudyState
from tests.benchmarks import output
from tests.benchmarks.durability import api, databases, watches
from tests.benchmarks.forwarding import all_of
from tests.ipserver.api.conftest import create_request
from tests.ipserver.api.fuzzing import methods
from tests.ipserver.studies.cases import ask, study_request
from tests.ipserver.support import small_spec, submit

CALLERS, WATCHES = 32, 500
EXPERIMENTS, RUNS, PACK = 10, 10_000, 100
# Nobody trains here: studies that have ended, and experiments that have failed, are prepared; and not more.
ENDED: Final = 300
_ENDED: Final = "what has ended"
_LARGE: Final = "experiments/old-00000"
_RUN: Final = f"{_LARGE}/runs/r00007"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a script makes.

    Attributes:
        method: As "Service/Method".
        request: From a name that no other round of any caller has.
        label: In the table; "": the method's name.
    """

    method: str
    request: Callable[[str], Message]
    label: str = ""

    @property
    def name(self) -> str:
        """Its row in the table."""
        return self.label or self.method.partition("/")[2]


def _always(method: str, request: Message, label: str = "") -> Call:
    return Call(method, lambda _: request, label)


def _named(kind: Callable[..., Message], prefix: str) -> Callable[[str], Message]:
    return lambda name: kind(name=f"{prefix}/{name}")


def reads() -> list[Call]:
    """One call for every method that reads; each is a script of its own."""
    free = parameterizations.MapPhasesRequest(preset="ip", hidden_layers=3, activation="relu")
    free.free.add(name="c", low="-2", high="2")
    free.free.add(name="a_last", low="0", high="2")
    complete = parameterizations.CompleteParameterizationRequest(preset="ip", hidden_layers=3)
    analyze = parameterizations.AnalyzeParameterizationRequest(preset="mup", hidden_layers=3)
    everything = parameterizations.ListParameterizationsRequest()
    page = runs.ListRunsRequest(parent=_LARGE, page_size=100)
    ordered = runs.ListRunsRequest(parent=_LARGE, page_size=100, order_by="final_test_loss desc, seed")
    chosen = runs.ListRunsRequest(parent=_LARGE, page_size=100, filter="seed >= 5000")
    metrics = runs.QueryMetricsRequest(parent=_LARGE, filter="seed = 7")
    several = runs.BatchGetRunsRequest(parent=_LARGE, names=[f"{_LARGE}/runs/r{i:05d}" for i in range(100)])
    groups = runs.SummarizeRunsRequest(parent=_LARGE, group_by=["seed"], page_size=100)
    together = runs.SummarizeRunsRequest(parent=_LARGE)
    file = runs.ReadArtifactRequest(name=f"{_RUN}/artifacts/weights/final.safetensors")
    theory, run = "ParameterizationService", "RunService"
    return [
        _always("AuditService/ListAuditEntries", audit.ListAuditEntriesRequest()),
        _always("CatalogService/GetCatalog", catalog.GetCatalogRequest()),
        _always("ExperimentService/GetExperiment", experiments.GetExperimentRequest(name=_LARGE)),
        _always("ExperimentService/ListExperiments", experiments.ListExperimentsRequest()),
        _always(
            "ExperimentService/BatchGetExperiments", experiments.BatchGetExperimentsRequest(names=[_LARGE])
        ),
        _always("ExperimentService/WatchExperiment", experiments.WatchExperimentRequest(name=_LARGE)),
        _always(f"{theory}/ListParameterizations", everything),
        _always(f"{theory}/AnalyzeParameterization", analyze),
        _always(f"{theory}/CompleteParameterization", complete),
        _always(f"{theory}/MapPhases", free),
        _always("QuotaService/ListQuotas", quotas.ListQuotasRequest()),
        _always("ReportService/CheckExperiment", reports.CheckExperimentRequest(name="experiments/small")),
        _always(f"{run}/GetRun", runs.GetRunRequest(name=_RUN)),
        _always(f"{run}/ListRuns", page, "ListRuns, 100"),
        _always(f"{run}/ListRuns", ordered, "ListRuns, 100 ordered"),
        _always(f"{run}/ListRuns", chosen, "ListRuns, 100 filtered"),
        _always(f"{run}/BatchGetRuns", several),
        _always(f"{run}/SummarizeRuns", groups, "SummarizeRuns, 100 of 10,000"),
        _always(f"{run}/SummarizeRuns", together, "SummarizeRuns, one of all"),
        _always(f"{run}/QueryMetrics", metrics),
        _always(f"{run}/ListArtifacts", runs.ListArtifactsRequest(parent=_RUN)),
        _always(f"{run}/ReadArtifact", file),
        _always("StudyService/GetStudy", studies.GetStudyRequest(name="studies/small")),
        _always("StudyService/ListStudies", studies.ListStudiesRequest()),
        _always("StudyService/WatchStudy", studies.WatchStudyRequest(name="studies/small")),
    ]


def _update(name: str) -> Message:
    request = experiments.UpdateExperimentRequest()
    request.experiment.name, request.experiment.display_name = f"experiments/{name}", "Another name"
    request.update_mask.paths.append("display_name")
    return request


def _update_study(name: str) -> Message:
    request = studies.UpdateStudyRequest()
    request.study.name, request.study.display_name = f"studies/{name}", "Another name"
    request.update_mask.paths.append("display_name")
    return request


def _extend(name: str) -> Message:
    request = experiments.ExtendExperimentRequest(name=f"experiments/{name}")
    request.seeds.append(5)
    return request


def _cancel_run(name: str) -> Message:
    return runs.CancelRunRequest(name=f"experiments/{name}/runs/r00000")


def _retry_run(name: str) -> Message:
    return runs.RetryRunRequest(name=f"experiments/{name}/runs/r00000")


def lives() -> dict[str, list[Call]]:
    """Calls that write, in the order of the life of what they write to."""

    def of(method: str, kind: Callable[..., Message]) -> Call:
        return Call(f"ExperimentService/{method}", _named(kind, "experiments"))

    experiment = [
        Call("ExperimentService/CreateExperiment", create_request),
        of("PauseExperiment", experiments.PauseExperimentRequest),
        of("ResumeExperiment", experiments.ResumeExperimentRequest),
        Call("ExperimentService/UpdateExperiment", _update),
        Call("ExperimentService/ExtendExperiment", _extend),
        Call("RunService/CancelRun", _cancel_run),
        of("CancelExperiment", experiments.CancelExperimentRequest),
        of("DeleteExperiment", experiments.DeleteExperimentRequest),
        of("UndeleteExperiment", experiments.UndeleteExperimentRequest),
        of("DeleteExperiment", experiments.DeleteExperimentRequest),
        of("PurgeExperiment", experiments.PurgeExperimentRequest),
    ]
    study = [
        Call("StudyService/CreateStudy", study_request),
        Call("StudyService/UpdateStudy", _update_study),
        Call("StudyService/CancelStudy", _named(studies.CancelStudyRequest, "studies")),
    ]
    ended = [
        Call("RunService/RetryRun", _retry_run),
        Call("ExperimentService/RetryFailedRuns", _named(experiments.RetryFailedRunsRequest, "experiments")),
        Call("StudyService/DeleteStudy", _named(studies.DeleteStudyRequest, "studies")),
        Call("StudyService/UndeleteStudy", _named(studies.UndeleteStudyRequest, "studies")),
        Call("StudyService/DeleteStudy", _named(studies.DeleteStudyRequest, "studies")),
        Call("StudyService/PurgeStudy", _named(studies.PurgeStudyRequest, "studies")),
    ]
    return {"the life of an experiment": experiment, "the life of a study": study, _ENDED: ended}


def scripts() -> dict[str, list[Call]]:
    """What callers repeat, by name."""
    return {call.name: [call] for call in reads()} | lives()


Times = dict[str, list[float]]
# Names that each script has used in this process.
_used: Final[dict[str, Iterator[int]]] = defaultdict(itertools.count)


def repeated(address: str, script: str, callers: int, seconds: float) -> tuple[Times, dict[str, str], float]:
    """Callers repeat a script: durations in ms and the last refusal, by call; and seconds in all."""
    calls = scripts()[script]
    times: list[Times] = [defaultdict(list) for _ in range(callers)]
    refused: list[dict[str, str]] = [{} for _ in range(callers)]
    begin = time.perf_counter()

    def work(number: int) -> None:
        with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            asks = {call.method: channel.unary_stream(f"/iplab.v1.{call.method}") for call in calls}
            while time.perf_counter() < begin + seconds:
                use = next(_used[script])
                if script == _ENDED and use >= ENDED:
                    return
                for call in calls:
                    data = call.request(_name(script, use)).SerializeToString()
                    begun = time.perf_counter()
                    try:
                        _first(asks[call.method](data, timeout=60))
                    except grpc.RpcError as error:
                        refused[number][call.name] = f"{error.code().name}: {error.details()}"  # type: ignore[attr-defined]
                    else:
                        times[number][call.name].append(1000 * (time.perf_counter() - begun))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = {call.name: [t for own in times for t in own[call.name]] for call in calls}
    reasons = {name: text for own in refused for name, text in own.items()}
    return together, reasons, time.perf_counter() - begin


def _name(script: str, use: int) -> str:
    """As "ended-00007"."""
    return f"{script.rpartition(' ')[2].lower()}-{use:05d}"


def _first(answers: Any) -> None:
    """Wait for the first answer of a call; the others of a watch are not wanted."""
    next(iter(answers))
    answers.cancel()


def latencies(address: str, seconds: float) -> Iterator[dict[str, object]]:
    """A row for each call; callers are in a process of their own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for script in scripts():
            print(f"  {script}", flush=True)
            alone, *_ = pool.apply(repeated, (address, script, 1, seconds / 2))
            times, refused, taken = pool.apply(repeated, (address, script, CALLERS, seconds))
            yield from _rows(alone, times, refused, taken)


def _rows(alone: Times, times: Times, refused: dict[str, str], seconds: float) -> Iterator[dict[str, object]]:
    for name, found in times.items():
        if name in refused:
            print(f"    {name}: {refused[name][:200]}", flush=True)
        if not found or not alone[name]:
            continue
        found.sort()
        yield {
            "call": name,
            "per s": round(len(found) / seconds, 1),
            "p50, ms": round(found[len(found) // 2], 1),
            "p99, ms": round(found[min(int(0.99 * len(found)), len(found) - 1)], 1),
            "alone p50, ms": round(statistics.median(alone[name]), 1),
        }


def fill(store: Store, artifacts: Path) -> None:
    """Ended experiments of 10,000 runs, each with points and a summary; the first pack has files."""
    for number in range(EXPERIMENTS):
        name = f"old-{number:05d}"
        grid = {"parameterizations": [{"preset": "mup"}], "seeds": list(range(RUNS))}
        submit(store, small_spec(grid=grid), name)
        planned = store.lease_unplanned("benchmark", 600)
        assert planned is not None
        members = [tuple(range(first, first + PACK)) for first in range(0, RUNS, PACK)]
        packs = [_pack(f"p{i:05d}", indices) for i, indices in enumerate(members)]
        store.save_plan(name, "benchmark", packs)
        while (pack := store.lease_pack(name, "benchmark", 600)) is not None:
            done = all_of(pack, artifacts, points=8)
            if pack.runs[0].index or number:
                done = replace(done, artifacts=())
            store.commit_slice(name, pack.id, pack.token, done)
    submit(store, small_spec(), "small")
    planned = store.lease_unplanned("benchmark", 600)
    assert planned is not None
    store.save_plan("small", "benchmark", [_pack("p", (0, 1, 2, 3))])
    pack = store.lease_pack("small", "benchmark", 600)
    assert pack is not None
    store.commit_slice("small", "p", pack.token, all_of(pack, artifacts, points=8))


def fill_ended(store: Store) -> None:
    """Experiments of which both packs have failed, and studies that have ended."""
    for number in range(ENDED):
        name = _name(_ENDED, number)
        submit(store, small_spec(), name)
        assert store.lease_unplanned("benchmark", 600) is not None
        store.save_plan(name, "benchmark", [_pack("p", (0, 1)), _pack("q", (2, 3))])
        while (pack := store.lease_pack(name, "benchmark", 600)) is not None:
            broken = Failure(FailureReason.TRAINING_ERROR, "it broke")
            store.end_attempt(name, pack.id, pack.token, failure=broken, retry=False)
        ask(store, name)
    answer = StudyOutcome("UNDECIDED", "BUDGET", "not enough runs")
    while held := store.lease_studies("benchmark", 600):
        for study in held:
            store.finish_study(study.id, study.token, StudyState.SUCCEEDED, answer)


def _pack(name: str, indices: tuple[int, ...]) -> NewPack:
    return NewPack(2, 16, "relu", id=name, run_indices=indices, steps=20, memory_bytes=1)


def others(dsn: str, address: str, process: int) -> dict[str, float]:
    """What one caller waits for the large things, in seconds or milliseconds."""
    with grpc.insecure_channel(address) as channel:

        def wait(method: str, request: Message) -> float:
            begun = time.perf_counter()
            _first(channel.unary_stream(f"/iplab.v1.{method}")(request.SerializeToString(), timeout=120))
            return time.perf_counter() - begun

        large = create_request("large", grid={"seeds": list(range(RUNS // 2))})
        found = {"10,000 runs accepted, s": wait("ExperimentService/CreateExperiment", large)}
        gets, done = list[float](), threading.Event()

        def read() -> None:
            with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as own:
                call = own.unary_unary("/iplab.v1.ExperimentService/GetExperiment")
                data = experiments.GetExperimentRequest(name=_LARGE).SerializeToString()
                while not done.is_set():
                    begun = time.perf_counter()
                    call(data, timeout=60)
                    gets.append(1000 * (time.perf_counter() - begun))

        reader = threading.Thread(target=read)
        reader.start()
        found["report over 10,000 runs, s"] = wait(
            "ReportService/CheckExperiment", reports.CheckExperimentRequest(name=_LARGE)
        )
        done.set()
        reader.join()
    gets.sort()
    found["Get meanwhile p99, ms"] = gets[min(int(0.99 * len(gets)), len(gets) - 1)]
    seen = asyncio.run(watches(dsn, address, process, count=WATCHES))
    found |= {f"{WATCHES} watches, {name}": value for name, value in seen.items()}
    return {name: round(value, 2) for name, value in found.items()}


def _not_measured(rows: Sequence[dict[str, object]]) -> list[str]:
    known = {str(row["call"]).partition(",")[0] for row in rows}
    return [name for method in methods() if (name := method.path.rpartition("/")[2]) not in known]


def main() -> None:
    """Print tables, and JSON where it is wanted."""
    parser = output.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each script")
    options = parser.parse_args()
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="iplab-") as folder, databases(Path(folder)) as found:
        for name, dsn in found.items():
            home = Path(folder) / name
            home.mkdir(mode=0o700)
            begun = time.perf_counter()
            with open_store(dsn) as store:
                fill(store, home / "artifacts")
                fill_ended(store)
            print(
                f"{name}: {EXPERIMENTS * RUNS:,} runs stored in {time.perf_counter() - begun:.0f} s",
                flush=True,
            )
            with api(dsn, home) as (address, process):
                with grpc.insecure_channel(address) as channel:
                    create = channel.unary_unary("/iplab.v1.StudyService/CreateStudy")
                    create(study_request("small").SerializeToString(), timeout=60)
                rows = list(latencies(address, options.seconds))
                more = others(dsn, address, process)
            print(f"\n{name}, {CALLERS} callers, load {os.getloadavg()[0]:.1f}")
            output.table(rows)
            print("\n" + "\n".join(f"{figure:<32}{value:>10}" for figure, value in more.items()))
            if left := _not_measured(rows):
                print(f"not measured: {', '.join(left)}")
            result[name] = {"methods": rows, **more}
    output.give(result, options.json)


if __name__ == "__main__":
    main()

"""The fake service: real gRPC on a loopback port over a world in memory."""
# ruff: noqa: N802 - methods are named as in the protos

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from iplab.client import Client
from iplab.connection.transport import Transport
from iplab.testing.audit import AuditLog
from iplab.testing.errors import REASONS, Refused, none_of, not_in_the_fake
from iplab.testing.queries import metric_blocks, selected, summaries
from iplab.testing.studies import Studies
from iplab.testing.study_calls import StudyCalls
from iplab.testing.world import ENDED, World
from iplab.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    catalog_service_pb2_grpc,
    experiment_pb2,
    experiment_service_pb2_grpc,
    parameterization_service_pb2_grpc,
    quota_service_pb2_grpc,
    report_service_pb2_grpc,
    run_pb2,
    run_service_pb2_grpc,
    study_service_pb2_grpc,
)
from iplab.v1 import experiment_service_pb2 as pb
from iplab.v1 import run_service_pb2 as run_pb

if TYPE_CHECKING:
    from iplab.aio import AsyncClient

# As in the real service: idle watches stay open as long as clients may ping.
_OPTIONS: Final = (
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
# Calls at a time; each watch is one.
_THREADS: Final = 32
_SERVICES: Final = {
    "ExperimentService": experiment_service_pb2_grpc,
    "RunService": run_service_pb2_grpc,
    "CatalogService": catalog_service_pb2_grpc,
    "ParameterizationService": parameterization_service_pb2_grpc,
    "QuotaService": quota_service_pb2_grpc,
    "AuditService": audit_service_pb2_grpc,
    "ReportService": report_service_pb2_grpc,
    "StudyService": study_service_pb2_grpc,
}


class FakeService(StudyCalls):
    """A service that trains nothing. Use it in a `with` statement, or `close` it.

    Args:
        hold: Whether experiments wait for `play`, and studies for `play_study`; otherwise they end as soon as
            they are created.

    Attributes:
        address: Its address, "127.0.0.1:PORT".
    """

    def __init__(self, *, hold: bool = False) -> None:
        self._hold = hold
        self._world = World()
        self._studies = Studies(self._world)
        self._audit = AuditLog()
        self._failing: Counter[tuple[str, str]] = Counter()
        self._breaks = 0
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="iplab-fake")
        self._server = grpc.server(threads, options=_OPTIONS)
        for name, module in _SERVICES.items():
            servicer = self._servicer(getattr(module, f"{name}Servicer"))
            getattr(module, f"add_{name}Servicer_to_server")(servicer, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop it; its experiments and studies are lost."""
        self.break_watches()
        self._server.stop(0.2).wait()

    def connect(self, *, timeout: float = 30.0) -> Client:
        """A client of it, independent of profiles and environment variables."""
        return Client(Transport(self.address, timeout))

    def connect_async(self, *, timeout: float = 30.0) -> AsyncClient:
        """An async client of it, for the running event loop."""
        from iplab.aio import AsyncClient  # noqa: PLC0415 - grpc.aio only where it is used
        from iplab.connection.async_transport import AsyncTransport  # noqa: PLC0415 - as above

        return AsyncClient(AsyncTransport(self.address, timeout))

    def play(self, experiment: str, *, fail: Collection[int] = (), diverge: Collection[int] = ()) -> None:
        """Play an experiment's queued runs to their end.

        Args:
            experiment: Its id.
            fail: Indices of runs that end FAILED.
            diverge: Indices of runs that end DIVERGED.

        Raises:
            KeyError: There is no such experiment.
        """
        with self._world.changed:
            self._world.play(self._world.held[experiment], fail, diverge)

    def fail_next(self, method: str, reason: str = "STORE_UNAVAILABLE", times: int = 1) -> None:
        """Refuse the next calls of a method.

        Args:
            method: For example "GetExperiment".
            reason: Reason of the error: STORE_UNAVAILABLE, INTERNAL, QUOTA_EXCEEDED, ...
            times: Number of calls.

        Raises:
            ValueError: There is no such reason.
        """
        if reason not in REASONS:
            raise ValueError(f"there is no reason {reason!r}, only: {', '.join(REASONS)}")
        self._failing[method, reason] += times

    def break_watches(self) -> None:
        """End all open watches as a restart of the service would; the SDK resumes them."""
        with self._world.changed:
            self._breaks += 1
            self._world.changed.notify_all()

    def _servicer(self, base: type) -> object:
        """A servicer with the methods of this class; all others refuse."""
        methods = [name for name in vars(base) if not name.startswith("_")]
        return type(base.__name__, (base,), {name: self._handler(name) for name in methods})()

    def _handler(self, name: str) -> Any:
        own: Callable[[Any], Any] | None = getattr(self, f"_{name}", None)

        def checked() -> Callable[[Any], Any]:
            for method, reason in list(self._failing):
                if method == name and self._failing[method, reason] > 0:
                    self._failing[method, reason] -= 1
                    raise Refused(reason, f"the fake service was told to refuse {name}")
            if own is None:
                raise not_in_the_fake(name)
            return own

        def unary(_: object, request: Any, context: grpc.ServicerContext) -> Any:
            peer = (context.peer() or "").split(":")[1:2]  # "ipv4:127.0.0.1:51112"
            try:
                with self._world.changed:
                    answer = checked()(request)
                    self._audit.note(name, request, answer, "OK", "".join(peer))
                    return answer
            except Refused as error:
                with self._world.changed:
                    self._audit.note(name, request, None, error.code.name, "".join(peer))
                return error.abort(context)

        def stream(_: object, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                yield from checked()(request)
            except Refused as error:
                error.abort(context)

        return stream if name in {"WatchExperiment", "QueryMetrics", "WatchStudy", "ReadArtifact"} else unary

    def _CreateExperiment(self, request: pb.CreateExperimentRequest) -> experiment_pb2.Experiment:
        held = self._world.create(
            request.experiment_id, request.experiment, request.request_id, only_check=request.validate_only
        )
        answer = held.answer()
        if not self._hold and not request.validate_only:
            self._world.play(held)
        return answer

    def _GetExperiment(self, request: pb.GetExperimentRequest) -> experiment_pb2.Experiment:
        return self._world.get(request.name).answer()

    def _BatchGetExperiments(self, request: pb.BatchGetExperimentsRequest) -> pb.BatchGetExperimentsResponse:
        absent = [name for name in dict.fromkeys(request.names) if not self._world.knows(name)]
        if absent:
            raise Refused("NOT_FOUND", none_of("experiment", [name.partition("/")[2] for name in absent]))
        return pb.BatchGetExperimentsResponse(
            experiments=[self._world.get(name).answer() for name in request.names]
        )

    def _ListAuditEntries(
        self, request: audit_service_pb2.ListAuditEntriesRequest
    ) -> audit_service_pb2.ListAuditEntriesResponse:
        return self._audit.listing(request)

    def _ListExperiments(self, request: pb.ListExperimentsRequest) -> pb.ListExperimentsResponse:
        newest = [held.answer() for held in reversed(self._world.held.values())]
        found = selected(newest, request.filter)
        start = int(request.page_token or 0)
        end = start + (request.page_size or len(found))
        token = str(end) if end < len(found) else ""
        return pb.ListExperimentsResponse(experiments=found[start:end], next_page_token=token)

    def _CancelExperiment(self, request: pb.CancelExperimentRequest) -> experiment_pb2.Experiment:
        held = self._world.get(request.name)
        self._world.cancel(held)
        return held.answer()

    def _WatchExperiment(self, request: pb.WatchExperimentRequest) -> Iterator[pb.WatchExperimentResponse]:
        with self._world.changed:
            held, sent, begun = self._world.get(request.name), request.after_sequence, self._breaks
        while True:
            with self._world.changed:
                while len(held.events) <= sent and held.message.state not in ENDED and self._breaks == begun:
                    self._world.changed.wait()
                if self._breaks != begun:
                    raise Refused("STORE_UNAVAILABLE", "the fake service ends this watch")
                events, ended = held.events[sent:], held.message.state in ENDED
            if events:
                yield pb.WatchExperimentResponse(events=events)
                sent += len(events)
            if ended:
                return

    def _GetRun(self, request: run_pb.GetRunRequest) -> run_pb2.Run:
        held = self._world.get(request.name)
        for run in held.runs:
            if run.name == request.name:
                copy = run_pb2.Run()
                copy.CopyFrom(run)  # it may change while the answer is written
                return copy
        raise Refused("NOT_FOUND", f"there is no run {request.name!r}; there are {len(held.runs)}")

    def _BatchGetRuns(self, request: run_pb.BatchGetRunsRequest) -> run_pb.BatchGetRunsResponse:
        held = self._world.get(request.parent)
        runs = {run.name: run for run in held.runs}
        absent = [name for name in dict.fromkeys(request.names) if name not in runs]
        if absent:
            none = none_of("run", [str(int(name.rpartition("/r")[2])) for name in absent], quoted=False)
            where = f"in experiment {request.parent.partition('/')[2]!r}"
            last = len(held.runs) - 1
            raise Refused("NOT_FOUND", f"{none} {where}; its {last + 1} runs are 0 to {last}")
        return run_pb.BatchGetRunsResponse(runs=[runs[name] for name in request.names])

    def _ListRuns(self, request: run_pb.ListRunsRequest) -> run_pb.ListRunsResponse:
        if request.order_by:
            raise not_in_the_fake("order_by")
        found = selected(self._world.get(request.parent).runs, request.filter)
        start = int(request.page_token or 0)
        end = start + (request.page_size or len(found))
        token = str(end) if end < len(found) else ""
        return run_pb.ListRunsResponse(runs=found[start:end], next_page_token=token)

    def _SummarizeRuns(self, request: run_pb.SummarizeRunsRequest) -> run_pb.SummarizeRunsResponse:
        return summaries(self._world.get(request.parent).runs, request)

    def _QueryMetrics(self, request: run_pb.QueryMetricsRequest) -> Iterator[run_pb.QueryMetricsResponse]:
        with self._world.changed:
            held = self._world.get(request.parent)
            blocks = list(metric_blocks(held.message.spec, held.runs, request))
        yield from blocks

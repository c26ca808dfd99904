"""RunService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from iplab.v1 import run_pb2
from iplab.v1 import run_service_pb2 as pb
from iplab.v1 import run_service_pb2_grpc as pb_grpc
from ipserver import names
from ipserver.api import artifacts, convert, metrics, paging, summaries
from ipserver.api.blocking import Blocking
from ipserver.api.filters import RUN_FIELDS, parse_filter
from ipserver.api.ordering import parse_order
from ipserver.api.paging import PageTokens
from ipserver.api.room import Room
from ipserver.api.unmatched import run_value, unmatched_runs
from ipserver.artifacts import ArtifactStore
from ipserver.request.retry import retry_failed
from ipserver.store.records.filters import ALL
from ipserver.store.records.runs import AttemptRecord, RunRecord

if TYPE_CHECKING:
    from ipserver.store import Store

# Number of experiments whose predictions are cached.
_REMEMBERED: Final = 256


class RunService(pb_grpc.RunServiceServicer):
    """Lists, summarizes, cancels and retries runs; reads their metrics and files.

    Args:
        store: The store.
        blocking: Thread pool for calls of the store and for files.
        bulk: Thread pool for queries of metrics.
        tokens: Page tokens.
        files: The artifact store.
        room: Refuses retries when disks are nearly full.
    """

    def __init__(
        self,
        store: Store,
        blocking: Blocking,
        bulk: Blocking,
        tokens: PageTokens,
        files: ArtifactStore,
        room: Room,
    ) -> None:
        self._store = store
        self._blocking = blocking
        self._bulk = bulk
        self._tokens = tokens
        self._files = files
        self._room = room
        self._regimes: Mapping[str, convert.Regimes] = {}

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> run_pb2.Run:
        """Return one run, with its attempts."""
        run = names.parse_run(request.name, "name")
        return await self._blocking.run(
            self._one, self._store.get_run, run.experiment, run.index, attempts=True
        )

    async def BatchGetRuns(self, request: pb.BatchGetRunsRequest, context: Any) -> pb.BatchGetRunsResponse:
        """Return several runs, in the order of the request."""
        experiment = names.parse_experiment(request.parent, "parent")
        indices = names.parse_runs_of(experiment, request.names, "names")

        def found() -> list[run_pb2.Run]:
            return paging.whole(self._converted(experiment, self._store.get_runs(experiment, indices)))

        return pb.BatchGetRunsResponse(runs=await self._blocking.run(found))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Any) -> pb.ListRunsResponse:
        """List runs by index, or in the requested order."""
        experiment = names.parse_experiment(request.parent, "parent")
        size = paging.page_size(request.page_size)
        where, order = parse_filter(request.filter, RUN_FIELDS), parse_order(request.order_by, RUN_FIELDS)
        # Without an order, so that tokens of versions without orders stay valid.
        scope = ("runs", request.parent, request.filter, *([request.order_by] if order else []))
        place = self._tokens.read(request.page_token, *scope)
        after = int(place[0]) if place and not order else -1

        def found() -> tuple[list[RunRecord], list[run_pb2.Run]]:
            records = self._store.list_runs(
                experiment, where, limit=size + 1, after=after, order=order, place=place or ()
            )
            return records, paging.fitting(self._converted(experiment, records[:size]))

        records, page = await self._blocking.run(found)
        token = ""
        if len(records) > len(page):
            last = records[len(page) - 1]
            token = self._tokens.make([*(run_value(last, key.field) for key in order), last.index], *scope)
        unmatched = ""
        if not records and not place and where != ALL:
            unmatched = await self._blocking.run(unmatched_runs, self._store, experiment, where)
        return pb.ListRunsResponse(runs=page, next_page_token=token, unmatched=unmatched)

    async def SummarizeRuns(self, request: pb.SummarizeRunsRequest, context: Any) -> pb.SummarizeRunsResponse:
        """Return means over groups of runs, and best rates."""
        query = summaries.parse(request, self._tokens)
        return await self._bulk.run(summaries.answer, self._store, query, self._tokens)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Any) -> run_pb2.Run:
        """Ask one run to stop."""
        run = names.parse_run(request.name, "name")
        return await self._blocking.run(self._one, self._store.cancel_run, run.experiment, run.index)

    async def RetryRun(self, request: pb.RetryRunRequest, context: Any) -> run_pb2.Run:
        """Train one failed run again."""
        run = names.parse_run(request.name, "name")
        retry = partial(retry_failed, require_room=self._room.require)
        await self._blocking.run(retry, self._store, request, run.experiment, run.index)
        return await self._blocking.run(self._one, self._store.get_run, run.experiment, run.index)

    def _one(
        self, call: Callable[[str, int], RunRecord], experiment: str, index: int, *, attempts: bool = False
    ) -> run_pb2.Run:
        record = call(experiment, index)
        found = self._store.attempts(experiment, index) if attempts else ()
        return self._converted(experiment, [record], found)[0]

    def _converted(
        self, experiment: str, records: Sequence[RunRecord], attempts: Sequence[AttemptRecord] = ()
    ) -> list[run_pb2.Run]:
        """Runs with their predicted regimes, which are cached: extensions do not change them."""
        regimes = self._regimes.get(experiment)
        if regimes is None:
            regimes = convert.regimes(self._store.get_experiment(experiment))
            # A new dictionary, because other threads may be reading the old one.
            self._regimes = {experiment: regimes, **dict(islice(self._regimes.items(), _REMEMBERED - 1))}
        return [convert.run(record, regimes, attempts) for record in records]

    async def QueryMetrics(
        self, request: pb.QueryMetricsRequest, context: Any
    ) -> AsyncIterator[pb.QueryMetricsResponse]:
        """Stream committed metric points as columns."""
        query = metrics.parse(request)
        async for block in self._bulk.iterate(metrics.blocks(self._store, query)):
            yield block

    async def ListArtifacts(self, request: pb.ListArtifactsRequest, context: Any) -> pb.ListArtifactsResponse:
        """List files by path."""
        run = names.parse_run(request.parent, "parent")
        size = paging.page_size(request.page_size)
        scope = ("artifacts", request.parent)
        place = self._tokens.read(request.page_token, *scope)
        records = await self._blocking.run(self._store.artifacts, run.experiment, run.index)
        rest = sorted(
            (record for record in records if not place or record.path > str(place[0])),
            key=lambda record: record.path,
        )
        token = self._tokens.make([rest[size - 1].path], *scope) if len(rest) > size else ""
        return pb.ListArtifactsResponse(
            artifacts=[convert.artifact(record) for record in rest[:size]], next_page_token=token
        )

    async def ReadArtifact(
        self, request: pb.ReadArtifactRequest, context: Any
    ) -> AsyncIterator[pb.ReadArtifactResponse]:
        """Stream the bytes of a file."""
        run, path = names.parse_artifact(request.name, "name")
        record = await self._blocking.run(self._store.get_artifact, run.experiment, run.index, path)
        chunks = artifacts.chunks(self._files, record, request.offset)
        async for offset, data in self._blocking.iterate(chunks):
            yield pb.ReadArtifactResponse(offset=offset, data=data)

"""ExperimentService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from iplab.v1 import experiment_pb2
from iplab.v1 import experiment_service_pb2 as pb
from iplab.v1 import experiment_service_pb2_grpc as pb_grpc
from iplab.v1.catalog_service_pb2 import Limits
from ipserver import names
from ipserver.api import convert, paging, theory
from ipserver.api.blocking import Blocking
from ipserver.api.caller import caller
from ipserver.api.filters import EXPERIMENT_FIELDS, parse_filter
from ipserver.api.paging import PageTokens
from ipserver.api.room import Room
from ipserver.api.unmatched import unmatched_experiments
from ipserver.api.watch import WatchHub
from ipserver.request.estimate import estimate
from ipserver.request.extend import check_extend
from ipserver.request.predict import predictions
from ipserver.request.retry import retry_failed
from ipserver.request.rules import capacity_warnings
from ipserver.request.stored import stored_spec
from ipserver.request.submit import create, extend, repeated
from ipserver.request.update import check_update
from ipserver.request.validate import check_create
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.filters import ALL, Filter, both
from ipserver.store.states import ExperimentState, RunState

if TYPE_CHECKING:
    from ipserver.store import Store


class ExperimentService(pb_grpc.ExperimentServiceServicer):
    """Submits, lists, changes and watches experiments.

    Args:
        store: The store.
        blocking: Thread pool for calls of the store.
        bulk: Thread pool for submissions, which take long to check and expand.
        hub: Source of events.
        tokens: Page tokens.
        limits: Limits on specs.
        deleted_seconds: How long a deleted experiment can be undeleted.
        room: Refuses new work when disks are nearly full.
    """

    def __init__(
        self,
        store: Store,
        blocking: Blocking,
        bulk: Blocking,
        hub: WatchHub,
        tokens: PageTokens,
        limits: Limits,
        deleted_seconds: float,
        room: Room,
    ) -> None:
        self._store = store
        self._blocking = blocking
        self._bulk = bulk
        self._hub = hub
        self._tokens = tokens
        self._limits = limits
        self._deleted_seconds = deleted_seconds
        self._room = room

    async def CreateExperiment(
        self, request: pb.CreateExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Validate, expand and store an experiment; see the proto."""
        return await self._bulk.run(self._create, request, caller().user)

    async def GetExperiment(
        self, request: pb.GetExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Return one experiment."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._blocking.run(self._converted, self._store.get_experiment, experiment)

    async def BatchGetExperiments(
        self, request: pb.BatchGetExperimentsRequest, context: Any
    ) -> pb.BatchGetExperimentsResponse:
        """Return several experiments, in the order of the request."""
        ids = names.parse_several(request.names, "names", names.parse_experiment)
        found = await self._blocking.run(self._listed, ids, caller().visible())
        return pb.BatchGetExperimentsResponse(experiments=found)

    async def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: Any
    ) -> pb.ListExperimentsResponse:
        """List experiments, newest first."""
        size = paging.page_size(request.page_size)
        where, visible = parse_filter(request.filter, EXPERIMENT_FIELDS), caller().visible()
        # Without "deleted", so that tokens of versions without deletion stay valid.
        scope = ("experiments", request.filter, *(["deleted"] if request.show_deleted else []))
        place = self._tokens.read(request.page_token, *scope)
        before = (float(place[0]), str(place[1])) if place else None
        records = await self._blocking.run(
            self._store.list_experiments,
            both(visible, where),
            limit=size + 1,
            before=before,
            show_deleted=request.show_deleted,
        )
        messages = await self._blocking.run(lambda: [convert.listed(record) for record in records[:size]])
        page = paging.fitting(messages)
        token = ""
        if len(records) > len(page):
            last = records[len(page) - 1]
            token = self._tokens.make([float(last.create_time), last.id], *scope)
        unmatched = ""
        if not records and not place and where != ALL:
            unmatched = await self._blocking.run(unmatched_experiments, self._store, where, visible)
        return pb.ListExperimentsResponse(experiments=page, next_page_token=token, unmatched=unmatched)

    async def CancelExperiment(
        self, request: pb.CancelExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Ask all unfinished runs to stop."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._blocking.run(self._converted, self._store.cancel_experiment, experiment)

    async def PauseExperiment(
        self, request: pb.PauseExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Stop the training of an experiment until it is resumed."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._blocking.run(self._converted, self._store.pause_experiment, experiment)

    async def ResumeExperiment(
        self, request: pb.ResumeExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Continue the training of a paused experiment."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._blocking.run(self._converted, self._store.resume_experiment, experiment)

    async def ExtendExperiment(
        self, request: pb.ExtendExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Add seeds, widths or base learning rates; see the proto."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._blocking.run(self._extend, experiment, request)

    async def RetryFailedRuns(
        self, request: pb.RetryFailedRunsRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Train failed runs again."""
        experiment = names.parse_experiment(request.name, "name")
        retry = partial(retry_failed, self._store, request, require_room=self._room.require)
        return await self._blocking.run(self._converted, retry, experiment)

    async def DeleteExperiment(
        self, request: pb.DeleteExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Hide an experiment until it is undeleted or purged."""
        experiment = names.parse_experiment(request.name, "name")
        delete = partial(self._store.delete_experiment, keep_seconds=self._deleted_seconds, etag=request.etag)
        return await self._blocking.run(self._converted, delete, experiment)

    async def UndeleteExperiment(
        self, request: pb.UndeleteExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Restore a deleted experiment."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._blocking.run(self._converted, self._store.undelete_experiment, experiment)

    async def PurgeExperiment(
        self, request: pb.PurgeExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Have a dispatcher remove a deleted experiment permanently."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._blocking.run(self._converted, self._store.purge_experiment, experiment)

    async def UpdateExperiment(
        self, request: pb.UpdateExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Change the display name, labels, notes or priority; see the proto."""
        experiment = names.parse_experiment(request.experiment.name, "experiment.name")
        return await self._bulk.run(self._update, experiment, request)

    async def WatchExperiment(
        self, request: pb.WatchExperimentRequest, context: Any
    ) -> AsyncIterator[pb.WatchExperimentResponse]:
        """Stream events, past and new."""
        experiment = names.parse_experiment(request.name, "name")
        async for events in self._hub.watch(experiment, request.after_sequence):
            rest = [convert.event(event) for event in events]
            while rest:
                part = paging.fitting(rest)
                yield pb.WatchExperimentResponse(events=part)
                rest = rest[len(part) :]

    def _converted(
        self, call: Callable[[str], ExperimentRecord], experiment: str
    ) -> experiment_pb2.Experiment:
        return self._answer(call(experiment))

    def _answer(self, record: ExperimentRecord) -> experiment_pb2.Experiment:
        message = self._warned(record)
        if record.state is ExperimentState.QUEUED and (place := self._store.queue_place(record.id)):
            begins = convert.timestamp(place.expected_start)
            message.queue_place.CopyFrom(
                experiment_pb2.QueuePlace(packs_before=place.packs_before, expected_start_time=begins)
            )
        return message

    def _warned(self, record: ExperimentRecord) -> experiment_pb2.Experiment:
        message = convert.experiment(record)
        return self._lacking(message) if record.state is ExperimentState.QUEUED else message

    def _lacking(self, message: experiment_pb2.Experiment) -> experiment_pb2.Experiment:
        """Add warnings about the present capacity, which are not stored because they may change."""
        now = capacity_warnings(message.spec, self._store.capacity())
        message.warnings[:] = [*now, *message.warnings]
        return message

    def _listed(self, ids: list[str], visible: Filter) -> list[experiment_pb2.Experiment]:
        return paging.whole(map(convert.listed, self._store.get_experiments(ids, visible)))

    def _create(self, request: pb.CreateExperimentRequest, user: str) -> experiment_pb2.Experiment:
        if request.validate_only:
            return self._preview(request)
        return self._warned(
            create(self._store, request, self._limits, owned_by=user, require_room=self._room.require)
        )

    def _extend(self, experiment: str, request: pb.ExtendExperimentRequest) -> experiment_pb2.Experiment:
        if not request.validate_only:
            asked_by, require_room = caller().user, self._room.require
            return self._warned(
                extend(
                    self._store,
                    experiment,
                    request,
                    self._limits,
                    asked_by=asked_by,
                    require_room=require_room,
                )
            )
        record = self._store.get_experiment(experiment)
        message = convert.experiment(record)
        extension = check_extend(request, record, self._limits, self._store.capacity())
        message.spec.CopyFrom(stored_spec(extension.spec))
        message.spec_hash = extension.spec_hash
        message.run_memory_bytes = extension.run_memory_bytes
        message.counts.total += len(extension.runs)
        message.counts.queued += len(extension.runs)
        message.total_steps += record.steps * len(extension.runs)
        message.warnings[:] = extension.warnings
        return self._lacking(message)

    def _update(self, experiment: str, request: pb.UpdateExperimentRequest) -> experiment_pb2.Experiment:
        revision = check_update(request, self._store.get_experiment(experiment), self._limits)
        return self._answer(
            self._store.update_experiment(experiment, replace(revision, asked_by=caller().user))
        )

    def _preview(self, request: pb.CreateExperimentRequest) -> experiment_pb2.Experiment:
        if first := repeated(self._store, request):
            return self._warned(first)
        checked = check_create(request, self._limits, self._store.capacity())
        if request.experiment_id:
            self._store.require_free_experiment(request.experiment_id)
        rough = estimate(checked.spec, checked.runs, checked.dataset, self._store.capacity())
        message = experiment_pb2.Experiment(
            estimated_seconds=rough.seconds,
            estimate_basis=rough.basis,
            name=names.experiment_name(request.experiment_id) if request.experiment_id else "",
            display_name=request.experiment.display_name,
            labels=request.experiment.labels,
            notes=request.experiment.notes,
            priority=request.experiment.priority,
            project=request.experiment.project,
            spec=checked.spec,
            counts=convert.counts({RunState.QUEUED: len(checked.runs)}),
            total_steps=checked.spec.steps * len(checked.runs),
            run_memory_bytes=checked.run_memory_bytes,
            warnings=checked.warnings,
            spec_hash=checked.spec_hash,
            predictions=[theory.prediction(value) for value in predictions(checked.spec)],
        )
        return self._lacking(message)

"""ExperimentService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from iplab.v1 import experiment_pb2
from iplab.v1 import experiment_service_pb2 as pb
from iplab.v1 import experiment_service_pb2_grpc as pb_grpc
from iplab.v1.catalog_service_pb2 import Limits
from ipserver import names
from ipserver.api import convert, paging, theory
from ipserver.api.blocking import Blocking
from ipserver.api.filters import EXPERIMENT_FIELDS, parse_filter
from ipserver.api.paging import PageTokens
from ipserver.api.unmatched import unmatched_experiments
from ipserver.api.watch import WatchHub
from ipserver.errors import AlreadyExists, NotFound, RequestIdReused
from ipserver.request.convert import resource_request
from ipserver.request.estimate import estimate
from ipserver.request.predict import predictions
from ipserver.request.validate import Checked, check_create
from ipserver.store.records import ALL, ExperimentRecord, NewExperiment
from ipserver.store.states import RunState

if TYPE_CHECKING:
    from ipserver.store import Store

_ID_ATTEMPTS = 5


class ExperimentService(pb_grpc.ExperimentServiceServicer):
    """Submitting and following experiments.

    Args:
        store: Where experiments are.
        blocking: Pool for its calls.
        bulk: Pool for requests that are checked and expanded.
        hub: Where events come from.
        tokens: Page tokens.
        limits: What specs are checked against.
    """

    def __init__(
        self,
        store: Store,
        blocking: Blocking,
        bulk: Blocking,
        hub: WatchHub,
        tokens: PageTokens,
        limits: Limits,
    ) -> None:
        self._store = store
        self._blocking = blocking
        self._bulk = bulk
        self._hub = hub
        self._tokens = tokens
        self._limits = limits

    async def CreateExperiment(
        self, request: pb.CreateExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Validate, expand, make durable; see the proto."""
        return await self._bulk.run(self._create, request)

    async def GetExperiment(
        self, request: pb.GetExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """One experiment."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._blocking.run(self._converted, self._store.get_experiment, experiment)

    async def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: Any
    ) -> pb.ListExperimentsResponse:
        """Experiments, newest first."""
        size = paging.page_size(request.page_size)
        where = parse_filter(request.filter, EXPERIMENT_FIELDS)
        scope = ("experiments", request.filter)
        place = self._tokens.read(request.page_token, *scope)
        before = (float(place[0]), str(place[1])) if place else None
        records = await self._blocking.run(self._store.list_experiments, where, limit=size + 1, before=before)
        messages = await self._blocking.run(lambda: [convert.listed(record) for record in records[:size]])
        page = paging.fitting(messages)
        token = ""
        if len(records) > len(page):
            last = records[len(page) - 1]
            token = self._tokens.make([float(last.create_time), last.id], *scope)
        unmatched = ""
        if not records and not place and where != ALL:
            unmatched = await self._blocking.run(unmatched_experiments, self._store, where)
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
        """Let nothing of it be trained until it is resumed."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._blocking.run(self._converted, self._store.pause_experiment, experiment)

    async def ResumeExperiment(
        self, request: pb.ResumeExperimentRequest, context: Any
    ) -> experiment_pb2.Experiment:
        """Let it go on."""
        experiment = names.parse_experiment(request.name, "name")
        return await self._blocking.run(self._converted, self._store.resume_experiment, experiment)

    async def WatchExperiment(
        self, request: pb.WatchExperimentRequest, context: Any
    ) -> AsyncIterator[pb.WatchExperimentResponse]:
        """Events, old and new."""
        experiment = names.parse_experiment(request.name, "name")
        async for events in self._hub.watch(experiment, request.after_sequence):
            rest = [convert.event(event) for event in events]
            while rest:
                part = paging.fitting(rest)
                yield pb.WatchExperimentResponse(events=part)
                rest = rest[len(part) :]

    @staticmethod
    def _converted(call: Callable[[str], ExperimentRecord], experiment: str) -> experiment_pb2.Experiment:
        return convert.experiment(call(experiment))

    def _create(self, request: pb.CreateExperimentRequest) -> experiment_pb2.Experiment:
        request_hash = _request_hash(request)
        request_id = _canonical_uuid(request.request_id)
        # A repetition gets the first answer even if the request would not be accepted any more.
        if request_id and (first := self._store.find_request(request_id, request_hash)):
            return convert.experiment(first)
        checked = check_create(request, self._limits, self._store.capacity())
        if request.validate_only:
            return self._preview(request, checked)
        for _ in range(_ID_ATTEMPTS):
            new = _new_experiment(request, checked, request_id, request_hash)
            try:
                return convert.experiment(self._store.create_experiment(new, checked.runs))
            except RequestIdReused:
                raise
            except AlreadyExists:
                if request.experiment_id:
                    raise
        raise AlreadyExists("no free experiment id was found; give one as experiment_id")

    def _preview(self, request: pb.CreateExperimentRequest, checked: Checked) -> experiment_pb2.Experiment:
        if request.experiment_id:
            try:
                self._store.get_experiment(request.experiment_id)
            except NotFound:
                pass
            else:
                raise AlreadyExists(f"the experiment id {request.experiment_id!r} is taken; choose another")
        rough = estimate(checked.spec, checked.runs, checked.dataset, self._store.capacity())
        return experiment_pb2.Experiment(
            estimated_seconds=rough.seconds,
            estimate_basis=rough.basis,
            name=names.experiment_name(request.experiment_id) if request.experiment_id else "",
            display_name=request.experiment.display_name,
            labels=request.experiment.labels,
            priority=request.experiment.priority,
            spec=checked.spec,
            counts=convert.counts({RunState.QUEUED: len(checked.runs)}),
            total_steps=checked.spec.steps * len(checked.runs),
            run_memory_bytes=checked.run_memory_bytes,
            warnings=checked.warnings,
            spec_hash=checked.spec_hash,
            predictions=[theory.prediction(value) for value in predictions(checked.spec)],
        )


def _new_experiment(
    request: pb.CreateExperimentRequest, checked: Checked, request_id: str, request_hash: str
) -> NewExperiment:
    experiment = request.experiment
    return NewExperiment(
        id=request.experiment_id or _readable_id(experiment.display_name or checked.spec.dataset),
        uid=str(uuid.uuid4()),
        request_id=request_id,
        request_hash=request_hash,
        display_name=experiment.display_name,
        labels=dict(experiment.labels),
        priority=experiment.priority,
        spec=checked.spec.SerializeToString(deterministic=True),
        spec_hash=checked.spec_hash,
        steps=checked.spec.steps,
        run_memory_bytes=checked.run_memory_bytes,
        warnings=checked.warnings,
        resources=resource_request(checked.spec).amounts(),
    )


def _request_hash(request: pb.CreateExperimentRequest) -> str:
    """SHA-256 of what a request asks for."""
    body = pb.CreateExperimentRequest()
    body.CopyFrom(request)
    body.ClearField("request_id")
    body.ClearField("validate_only")
    return hashlib.sha256(body.SerializeToString(deterministic=True)).hexdigest()


def _canonical_uuid(text: str) -> str:
    """A UUID in its usual spelling; "" for what is none, which the check of the request names."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return ""


def _readable_id(text: str) -> str:
    """An id that begins with the words of `text`.

    >>> _readable_id("Width 128, take 2").rpartition("-")[0]
    'width-128-take-2'
    """
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    stem = words if words[:1].isalpha() else f"e-{words}".rstrip("-")
    return f"{stem}-{secrets.token_hex(3)}"

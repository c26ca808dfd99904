"""StudyService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import empty_pb2, json_format

from iplab.v1 import study_pb2
from iplab.v1 import study_service_pb2 as pb
from iplab.v1 import study_service_pb2_grpc as pb_grpc
from iplab.v1.catalog_service_pb2 import Limits
from ipserver import names
from ipserver.api import paging
from ipserver.api.blocking import Blocking
from ipserver.api.caller import caller
from ipserver.api.convert import timestamp
from ipserver.api.heavy import Heavy
from ipserver.api.room import Room
from ipserver.errors import StoreUnavailable
from ipserver.request.rules import capacity_warnings
from ipserver.request.study import CheckedStudy, accept_study, check_study, repeated_study
from ipserver.request.update import check_study_update
from ipserver.store.records.studies import RoundRecord, StudyRecord

if TYPE_CHECKING:
    from ipserver.store import Store

_LOOK_SECONDS: Final = 0.5


class StudyService(pb_grpc.StudyServiceServicer):
    """Submits, lists, changes and watches studies.

    Args:
        store: The store.
        blocking: Thread pool for calls of the store.
        heavy: Processes that check requests.
        tokens: Page tokens.
        limits: Limits on specs.
        stopping: Set when the server stops, to end all watches.
        interval: Seconds between two polls of a watch.
        deleted_seconds: How long a deleted study can be undeleted.
        room: Refuses new work when disks are nearly full.
    """

    def __init__(
        self,
        store: Store,
        blocking: Blocking,
        heavy: Heavy,
        tokens: paging.PageTokens,
        limits: Limits,
        stopping: asyncio.Event,
        *,
        deleted_seconds: float,
        room: Room,
        interval: float = _LOOK_SECONDS,
    ) -> None:
        self._store = store
        self._blocking = blocking
        self._heavy = heavy
        self._tokens = tokens
        self._limits = limits
        self._stopping = stopping
        self._interval = interval
        self._deleted_seconds = deleted_seconds
        self._room = room

    async def CreateStudy(self, request: pb.CreateStudyRequest, context: Any) -> study_pb2.Study:
        """Validate and store a study; see the proto."""
        if first := await self._blocking.run(repeated_study, self._store, request):
            return study_message(first)
        if not request.validate_only:
            await self._blocking.run(self._room.require)
        # In a separate process, because predictions for many deep networks take long.
        checked = await self._heavy.read(_preview, request, self._limits)
        now = capacity_warnings(checked.spec.base, await self._blocking.run(self._store.capacity))
        if not request.validate_only:
            good = CheckedStudy(checked.spec, tuple(checked.warnings))
            checked = study_message(
                await self._blocking.run(accept_study, self._store, request, good, caller().user)
            )
        # Warnings about the present capacity are not stored, because they may change.
        checked.warnings[:] = [*now, *checked.warnings]
        return checked

    async def GetStudy(self, request: pb.GetStudyRequest, context: Any) -> study_pb2.Study:
        """Return one study."""
        study = names.parse_study(request.name, "name")
        return await self._blocking.run(self._converted, self._store.get_study, study)

    async def ListStudies(self, request: pb.ListStudiesRequest, context: Any) -> pb.ListStudiesResponse:
        """List studies, newest first."""
        size = paging.page_size(request.page_size)
        scope = ("studies", *(["deleted"] if request.show_deleted else []))
        place = self._tokens.read(request.page_token, *scope)
        before = (float(place[0]), str(place[1])) if place else None
        records = await self._blocking.run(
            self._store.list_studies,
            limit=size + 1,
            before=before,
            projects=caller().projects(),
            show_deleted=request.show_deleted,
        )
        page = paging.fitting([study_message(record) for record in records[:size]])
        token = ""
        if len(records) > len(page):
            last = records[len(page) - 1]
            token = self._tokens.make([float(last.create_time), last.id], *scope)
        return pb.ListStudiesResponse(studies=page, next_page_token=token)

    async def WatchStudy(
        self, request: pb.WatchStudyRequest, context: Any
    ) -> AsyncIterator[pb.WatchStudyResponse]:
        """Stream the study whenever it changes, until it has ended."""
        study = names.parse_study(request.name, "name")
        known = (-1, -1)
        while True:
            record = await self._blocking.run(self._store.get_study, study)
            if (record.sequence, record.ended_runs) != known:
                known = record.sequence, record.ended_runs
                yield pb.WatchStudyResponse(study=study_message(record))
            if record.state.terminal:
                return
            try:
                await asyncio.wait_for(self._stopping.wait(), self._interval)
            except TimeoutError:
                continue
            raise StoreUnavailable("this server is stopping; watch again")

    async def CancelStudy(self, request: pb.CancelStudyRequest, context: Any) -> study_pb2.Study:
        """End a study and cancel its experiments."""
        study = names.parse_study(request.name, "name")
        return await self._blocking.run(self._converted, self._store.cancel_study, study)

    async def UpdateStudy(self, request: pb.UpdateStudyRequest, context: Any) -> study_pb2.Study:
        """Change the display name, labels, notes or priority; see the proto."""
        study = names.parse_study(request.study.name, "study.name")
        return await self._blocking.run(self._update, study, request)

    async def DeleteStudy(self, request: pb.DeleteStudyRequest, context: Any) -> empty_pb2.Empty:
        """Hide a study until it is undeleted or purged."""
        study = names.parse_study(request.name, "name")
        await self._blocking.run(self._store.delete_study, study, self._deleted_seconds)
        return empty_pb2.Empty()

    async def UndeleteStudy(self, request: pb.UndeleteStudyRequest, context: Any) -> study_pb2.Study:
        """Restore a deleted study."""
        study = names.parse_study(request.name, "name")
        return await self._blocking.run(self._converted, self._store.undelete_study, study)

    async def PurgeStudy(self, request: pb.PurgeStudyRequest, context: Any) -> study_pb2.Study:
        """Have a dispatcher remove a deleted study permanently."""
        study = names.parse_study(request.name, "name")
        return await self._blocking.run(self._converted, self._store.purge_study, study)

    def _update(self, study: str, request: pb.UpdateStudyRequest) -> study_pb2.Study:
        revision = check_study_update(request, self._store.get_study(study), self._limits)
        return study_message(self._store.update_study(study, replace(revision, asked_by=caller().user)))

    @staticmethod
    def _converted(call: Callable[[str], StudyRecord], study: str) -> study_pb2.Study:
        return study_message(call(study))


def _preview(store: Store, request: pb.CreateStudyRequest, limits: Limits) -> study_pb2.Study:
    """The study that a request would create. Raises InvalidRequest, or AlreadyExists if the id is taken."""
    checked = check_study(request, limits, store.capacity())
    if request.study_id:
        store.require_free_study(request.study_id)
    return study_pb2.Study(
        name=names.study_name(request.study_id) if request.study_id else "",
        display_name=request.study.display_name,
        labels=request.study.labels,
        priority=request.study.priority,
        notes=request.study.notes,
        project=request.study.project,
        spec=checked.spec,
        warnings=checked.warnings,
    )


def study_message(record: StudyRecord) -> study_pb2.Study:
    """A study as a message."""
    outcome = record.outcome
    return study_pb2.Study(
        name=names.study_name(record.id),
        uid=record.uid,
        display_name=record.display_name,
        labels=record.labels,
        priority=record.priority,
        spec=study_pb2.StudySpec.FromString(record.spec),
        state=study_pb2.StudyState.Value(f"STUDY_STATE_{record.state.value}"),
        verdict=study_pb2.StudyVerdict.Value(f"STUDY_VERDICT_{outcome.verdict or 'UNSPECIFIED'}"),
        reason=study_pb2.StudyReason.Value(f"STUDY_REASON_{outcome.reason or 'UNSPECIFIED'}"),
        sentence=outcome.sentence,
        answers=[_answer(answer) for answer in outcome.answers],
        rounds=[_round(one) for one in record.rounds],
        spent=study_pb2.StudySpent(
            runs=record.ended_runs,
            asked_runs=record.asked_runs,
            core_seconds=outcome.core_seconds,
            wall_seconds=record.wall_seconds,
        ),
        experiments=[names.experiment_name(name) for name in record.experiments],
        warnings=record.warnings,
        sequence=record.sequence,
        project=record.project,
        owner=record.owned_by,
        etag=record.etag,
        notes=record.notes,
        create_time=timestamp(record.create_time),
        end_time=timestamp(record.end_time),
        delete_time=timestamp(record.delete_time),
        purge_time=timestamp(record.purge_time),
    )


def _answer(stored: Mapping[str, Any]) -> study_pb2.StudyAnswer:
    return json_format.ParseDict(_named(dict(stored)), study_pb2.StudyAnswer())


def _named(value: Any) -> Any:
    """Add the enum's prefix to stored verdicts."""
    if isinstance(value, dict):
        return {
            key: f"STUDY_VERDICT_{one}" if key == "verdict" else _named(one) for key, one in value.items()
        }
    return [_named(one) for one in value] if isinstance(value, list) else value


def _round(record: RoundRecord) -> study_pb2.StudyRound:
    return study_pb2.StudyRound(
        number=record.number,
        why=record.why,
        runs=record.runs,
        experiments=[names.experiment_name(name) for name in record.experiments],
        learned=record.learned,
        create_time=timestamp(record.create_time),
        end_time=timestamp(record.end_time),
    )

"""The methods of StudyService on the fake service."""
# ruff: noqa: N802 - methods are named as in the protos

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf import empty_pb2

from iplab.testing.errors import Refused
from iplab.testing.studies import VERDICTS, Studies
from iplab.testing.world import World
from iplab.v1 import study_pb2
from iplab.v1 import study_service_pb2 as pb


class StudyCalls:
    """Part of `FakeService`, which has the attributes. All methods but the watch run under the lock."""

    _hold: bool
    _world: World
    _studies: Studies
    _breaks: int

    def play_study(self, study: str, verdict: str = "AGREES") -> None:
        """End a study's experiments, then the study.

        Args:
            study: Its id.
            verdict: Its answer, for all of its subjects: AGREES, DISAGREES, NO_PREDICTION or UNDECIDED.

        Raises:
            KeyError: There is no such study.
            ValueError: There is no such verdict.
        """
        if verdict not in VERDICTS:
            raise ValueError(f"there is no verdict {verdict!r}, only: {', '.join(VERDICTS)}")
        with self._world.changed:
            try:
                asked = self._studies.get(study)
            except Refused:
                raise KeyError(study) from None
            self._studies.play(asked, verdict)

    def _CreateStudy(self, request: pb.CreateStudyRequest) -> study_pb2.Study:
        answer = self._studies.create(request)
        if not self._hold and not request.validate_only:
            self._studies.play(self._studies.get(answer.name), "AGREES")
        return answer

    def _GetStudy(self, request: pb.GetStudyRequest) -> study_pb2.Study:
        return self._studies.answer(self._studies.get(request.name))

    def _ListStudies(self, request: pb.ListStudiesRequest) -> pb.ListStudiesResponse:
        return self._studies.listing(request)

    def _CancelStudy(self, request: pb.CancelStudyRequest) -> study_pb2.Study:
        study = self._studies.get(request.name)
        self._studies.cancel(study)
        return self._studies.answer(study)

    def _UpdateStudy(self, request: pb.UpdateStudyRequest) -> study_pb2.Study:
        return self._studies.update(request)

    def _DeleteStudy(self, request: pb.DeleteStudyRequest) -> empty_pb2.Empty:
        self._studies.delete(request.name)
        return empty_pb2.Empty()

    def _UndeleteStudy(self, request: pb.UndeleteStudyRequest) -> study_pb2.Study:
        return self._studies.undelete(request.name)

    def _PurgeStudy(self, request: pb.PurgeStudyRequest) -> study_pb2.Study:
        return self._studies.purge(request.name)

    def _WatchStudy(self, request: pb.WatchStudyRequest) -> Iterator[pb.WatchStudyResponse]:
        sent, begun = (-1, -1), self._breaks
        while True:
            with self._world.changed:
                found, now = self._studies.watch(request.name)
                while now == sent and not found.HasField("end_time") and self._breaks == begun:
                    self._world.changed.wait()
                    found, now = self._studies.watch(request.name)
                if self._breaks != begun:
                    raise Refused("STORE_UNAVAILABLE", "the fake service ends this watch")
            if now != sent:
                yield pb.WatchStudyResponse(study=found)
                sent = now
            if found.HasField("end_time"):
                return

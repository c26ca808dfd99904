"""Studies of the fake service. They measure nothing: one round of made-up runs, then the given answer.

The round has an experiment for every subject at every width, as a real one has. Its runs end when the study
is played.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from iplab.testing import describing
from iplab.testing.errors import Refused, wrong
from iplab.testing.world import World
from iplab.v1 import experiment_pb2, spec_pb2, study_pb2
from iplab.v1 import study_service_pb2 as pb

_STATE = study_pb2.StudyState
_VERDICT = study_pb2.StudyVerdict
_REASON = study_pb2.StudyReason
_SEEDS: Final = range(4)
_WIDTHS: Final = (64, 128, 256)
_RATE: Final = 0.125
_NOTHING: Final = "A fake service: nothing was measured"
VERDICTS: Final = ("AGREES", "DISAGREES", "NO_PREDICTION", "UNDECIDED")


@dataclass
class Asked:
    """A study of the fake service.

    Attributes:
        message: As in answers, except for the progress of its experiments.
        request: Request id and content of its creation.
    """

    message: study_pb2.Study
    request: tuple[str, bytes]


class Studies:
    """Studies by id, oldest first. Callers must hold the world's lock.

    Args:
        world: Holds their experiments.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked: dict[str, Asked] = {}
        # They can still be read: unlike in a real service, nothing removes them.
        self._purging: set[str] = set()

    def create(self, request: pb.CreateStudyRequest) -> study_pb2.Study:
        """Accept a study with its only round, whose runs wait. Raises Refused."""
        key = (
            request.request_id,
            request.study_id.encode() + request.study.SerializeToString(deterministic=True),
        )
        for asked in self._asked.values():
            if request.request_id and asked.request[0] == request.request_id:
                if asked.request != key:
                    raise Refused("REQUEST_ID_REUSED", "the request id was used with another request")
                return self.answer(asked.message)
        if problems := _problems(request.study.spec):
            raise wrong(problems)
        id = request.study_id
        if id in self._asked:
            gone = self._asked[id].message.HasField("delete_time")
            what = "was deleted but not purged; undelete it, or" if gone else "exists already;"
            raise Refused("ALREADY_EXISTS", f"study {id!r} {what} choose another id")
        study = study_pb2.Study()
        study.CopyFrom(request.study)
        study.warnings.append("a fake service: nothing is trained, and all numbers are made up")
        _fill(study.spec.base)
        if request.validate_only:
            study.name = f"studies/{id}" if id else ""
            return study
        kind = str(study.spec.WhichOneof("question")).replace("_", "-")
        study.name, study.uid = f"studies/{id or f'{kind}-{uuid.uuid4().hex[:6]}'}", str(uuid.uuid4())
        study.project = study.project or "default"
        study.create_time.GetCurrentTime()
        study.state, study.verdict = _STATE.STUDY_STATE_RUNNING, _VERDICT.STUDY_VERDICT_UNDECIDED
        self._ask(study)
        self._asked[study.name.rpartition("/")[2]] = Asked(study, key)
        self._change(study)
        return self.answer(study)

    def get(self, name: str) -> study_pb2.Study:
        """The study with a name, to be changed under the lock. Raises Refused."""
        id = name.removeprefix("studies/")
        if id not in self._asked:
            raise Refused("NOT_FOUND", f"there is no study {id!r}")
        return self._asked[id].message

    def answer(self, study: study_pb2.Study) -> study_pb2.Study:
        """A copy of it, with the progress of its experiments."""
        copy = study_pb2.Study()
        copy.CopyFrom(study)
        runs = [run for name in study.experiments for run in self._world.get(name).runs]
        copy.spent.asked_runs = len(runs)
        copy.spent.runs = sum(run.HasField("end_time") for run in runs)
        copy.etag = describing.etag_of(study)
        return copy

    def listing(self, request: pb.ListStudiesRequest) -> pb.ListStudiesResponse:
        """One page, newest first."""
        newest = [asked.message for asked in reversed(self._asked.values())]
        found = [study for study in newest if request.show_deleted or not study.HasField("delete_time")]
        start = int(request.page_token or 0)
        end = start + (request.page_size or len(found))
        return pb.ListStudiesResponse(
            studies=[self.answer(study) for study in found[start:end]],
            next_page_token=str(end) if end < len(found) else "",
        )

    def play(self, study: study_pb2.Study, verdict: str) -> None:
        """End its experiments, then the study with this verdict; does nothing if it has ended."""
        if study.HasField("end_time"):
            return
        for name in study.experiments:
            self._world.play(self._world.get(name))
        said = f"{_NOTHING}; it was told to answer {verdict}."
        for answer in study.answers:
            answer.verdict, answer.sentence = _VERDICT.Value(f"STUDY_VERDICT_{verdict}"), said
        study.rounds[-1].learned.extend(answer.sentence for answer in study.answers)
        study.rounds[-1].end_time.GetCurrentTime()
        self._end(study, "SUCCEEDED", "LIMIT" if verdict == "UNDECIDED" else "DECIDED", verdict, said)

    def cancel(self, study: study_pb2.Study) -> None:
        """End it and its experiments as cancelled; does nothing if it has ended."""
        if study.HasField("end_time"):
            return
        for name in study.experiments:
            self._world.cancel(self._world.get(name))
        self._end(study, "CANCELLED", "CANCELLED", "UNDECIDED", "It was cancelled before anything was known.")

    def update(self, request: pb.UpdateStudyRequest) -> study_pb2.Study:
        """Change its description or priority. Raises Refused."""
        study = self.get(request.study.name)
        if describing.update(study, request.study, request.update_mask):
            self._change(study)
        return self.answer(study)

    def delete(self, name: str) -> None:
        """Delete it. Raises Refused."""
        study = self.get(name)
        describing.delete(study)
        self._change(study)

    def undelete(self, name: str) -> study_pb2.Study:
        """Restore it. Raises Refused."""
        study = self.get(name)
        if study.name in self._purging:
            raise wrong({"name": "it is being purged and cannot be undeleted"})
        describing.undelete(study)
        self._change(study)
        return self.answer(study)

    def purge(self, name: str) -> study_pb2.Study:
        """Purge it, so that it cannot be undeleted. Raises Refused."""
        study = self.get(name)
        describing.purge(study)
        self._purging.add(study.name)
        self._change(study)
        return self.answer(study)

    def watch(self, name: str) -> tuple[study_pb2.Study, tuple[int, int]]:
        """The message of a watch, and a value that changes with it. Raises Refused."""
        found = self.answer(self.get(name))
        return found, (found.sequence, found.spent.runs)

    def _ask(self, study: study_pb2.Study) -> None:
        """Its only round: an experiment for every subject at every width."""
        grid, id = study.spec.base.grid, study.name.rpartition("/")[2]
        one = study.rounds.add(number=1, why="the only round of a fake service")
        one.create_time.GetCurrentTime()
        for entry, depth, activation in itertools.product(
            grid.parameterizations, grid.hidden_layers, grid.activations
        ):
            study.answers.add(
                subject=f"{entry.label} ({activation}, {depth} hidden layers)",
                verdict=_VERDICT.STUDY_VERDICT_UNDECIDED,
            )
            for width in grid.widths:
                asked = experiment_pb2.Experiment(
                    spec=study.spec.base,
                    labels={**study.labels, "study": id},
                    priority=study.priority,
                    project=study.project,
                )
                own = asked.spec.grid
                for field, value in (
                    ("parameterizations", entry),
                    ("hidden_layers", depth),
                    ("activations", activation),
                    ("widths", width),
                ):
                    own.ClearField(field)  # type: ignore[arg-type]
                    getattr(own, field).append(value)
                own.seeds.extend(_SEEDS)
                name = f"{id}-{study.uid[:6]}-{len(one.experiments) + 1}"
                held = self._world.create(name, asked, "", only_check=False)
                one.experiments.append(held.message.name)
                one.runs += len(held.runs)
        study.experiments.extend(one.experiments)

    def _end(self, study: study_pb2.Study, state: str, reason: str, verdict: str, sentence: str) -> None:
        study.state = _STATE.Value(f"STUDY_STATE_{state}")
        study.reason = _REASON.Value(f"STUDY_REASON_{reason}")
        study.verdict = _VERDICT.Value(f"STUDY_VERDICT_{verdict}")
        study.sentence = sentence
        study.end_time.GetCurrentTime()
        self._change(study)

    def _change(self, study: study_pb2.Study) -> None:
        study.sequence += 1
        self._world.changed.notify_all()


def _fill(base: spec_pb2.ExperimentSpec) -> None:
    """Fill in widths, the first rate and labels that are not given."""
    grid = base.grid
    grid.widths.extend(() if grid.widths else _WIDTHS)
    if not grid.base_learning_rates and not all(it.base_learning_rates for it in grid.parameterizations):
        grid.base_learning_rates.append(_RATE)
    for entry in grid.parameterizations:
        entry.label = entry.label or re.sub(r"[^a-z0-9._-]", "-", entry.preset)


def _problems(spec: study_pb2.StudySpec) -> dict[str, str]:
    """Missing fields, and fields that the study itself sets. The real service checks much more."""
    return dict(_missing(spec))


def _missing(spec: study_pb2.StudySpec) -> Iterator[tuple[str, str]]:
    base = spec.base
    if spec.WhichOneof("question") is None:
        yield "study.spec.question", "is required"
    if not spec.HasField("base"):
        yield "study.spec.base", "is required: it says what is trained"
        return
    if not any(spec.budget.HasField(name) for name in ("runs", "core_hours", "wall_seconds")):
        yield "study.spec.budget", "is required"
    for name in ("batch_size", "steps"):
        if getattr(base, name) < 1:
            yield f"study.spec.base.{name}", "must be at least 1, not 0"
    if not base.dataset:
        yield "study.spec.base.dataset", "is empty; name a dataset"
    for axis in ("parameterizations", "hidden_layers", "activations"):
        if not getattr(base.grid, axis):
            yield f"study.spec.base.grid.{axis}", "is empty; give at least one"
    if not (base.grid.base_learning_rates or base.grid.parameterizations):
        yield "study.spec.base.grid.base_learning_rates", "is empty; give at least one"
    if base.grid.seeds:
        yield "study.spec.base.grid.seeds", "are chosen by the study; leave them out"

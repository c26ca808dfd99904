"""Studies, their rounds and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ipserver.names import DEFAULT_PROJECT
from ipserver.store.records.experiments import etag_of
from ipserver.store.states import StudyState


@dataclass(frozen=True, slots=True)
class NewStudy:
    """An accepted study.

    Attributes:
        id: Last part of the resource name.
        request_id: Key for idempotent creation, or "".
        request_hash: SHA-256 of the request.
        spec: The serialized `iplab.v1.StudySpec`, with defaults filled in.
    """

    id: str
    uid: str
    request_id: str
    request_hash: str
    display_name: str
    labels: Mapping[str, str]
    priority: int
    spec: bytes
    warnings: tuple[str, ...] = ()
    project: str = DEFAULT_PROJECT
    owned_by: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """The findings of a study so far.

    Attributes:
        verdict: `iplab.v1.StudyVerdict` without its prefix; "" if nothing is known.
        reason: `iplab.v1.StudyReason` without its prefix; "" if the study has not ended.
        sentence: The outcome in one sentence.
        answers: Fields of `iplab.v1.StudyAnswer`, one mapping per subject.
        core_seconds: Work of all ended rounds, in seconds on one core.
    """

    verdict: str = ""
    reason: str = ""
    sentence: str = ""
    answers: tuple[Mapping[str, Any], ...] = ()
    core_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class NewRound:
    """A round of a study, to be recorded before any action is taken.

    Attributes:
        number: 1, 2, 3, ...
        why: Purpose of the round, as text.
        actions: Creations and extensions of experiments (`ipserver.studies.rounds`); each names its
            "experiment".
        runs: Number of runs that the actions add.
    """

    number: int
    why: str
    actions: tuple[Mapping[str, Any], ...]
    runs: int


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """A round, as stored.

    Attributes:
        done: Whether all actions were taken.
        learned: Findings after the round, one sentence per subject; () until it has ended.
    """

    number: int
    why: str
    actions: tuple[Mapping[str, Any], ...]
    runs: int
    done: bool
    learned: tuple[str, ...]
    create_time: float
    end_time: float | None

    @property
    def experiments(self) -> tuple[str, ...]:
        """Ids of the experiments that the round creates or extends."""
        return tuple(dict.fromkeys(action["experiment"] for action in self.actions))


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study, as stored.

    Attributes:
        token: Fencing token of its current or last lease.
        now: Time at which the record was read.
        ended_runs: Number of its runs that have ended.
    """

    id: str
    uid: str
    display_name: str
    labels: Mapping[str, str]
    priority: int
    spec: bytes
    warnings: tuple[str, ...]
    state: StudyState
    cancel_requested: bool
    sequence: int
    outcome: StudyOutcome
    rounds: tuple[RoundRecord, ...]
    token: int
    create_time: float
    end_time: float | None
    now: float
    ended_runs: int
    project: str = DEFAULT_PROJECT
    owned_by: str = ""
    notes: str = ""
    delete_time: float | None = None
    purge_time: float | None = None

    @property
    def etag(self) -> str:
        """Changes with everything that a `Revision` can change, and with nothing else."""
        return etag_of(self.uid, self.display_name, self.labels, self.priority, self.notes)

    @property
    def experiments(self) -> tuple[str, ...]:
        """Ids of its experiments, in the order of their creation."""
        return tuple(dict.fromkeys(name for one in self.rounds for name in one.experiments))

    @property
    def asked_runs(self) -> int:
        """Number of runs that the study has submitted."""
        return sum(one.runs for one in self.rounds)

    @property
    def wall_seconds(self) -> float:
        """Seconds from its acceptance to its end, or until it was read."""
        return max(0.0, (self.now if self.end_time is None else self.end_time) - self.create_time)

"""A study: a question that the service answers by experiments of its own."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format

from iplab.errors import InvalidRequestError, TimedOutError, UnavailableError, Violation
from iplab.experiment import Experiment
from iplab.plain import to_plain
from iplab.reading import member, read
from iplab.states import StudyReason, StudyState, StudyVerdict
from iplab.transport import Transport, pause
from iplab.v1 import experiment_service_pb2, study_pb2, study_service_pb2
from iplab.v1.fields import StudyFields

if TYPE_CHECKING:
    from ipcore.figures import Picture
    from iplab.v1.spec_pb2 import ExperimentSpec

QUESTIONS: Final = tuple(
    field.name.replace("_", "-") for field in study_pb2.StudySpec.DESCRIPTOR.oneofs_by_name["question"].fields
)
_FIRST_DELAY, _LAST_DELAY, _PATIENCE = 0.1, 2.0, 60.0
# As people write what a study may spend: a number and a unit, several joined by commas.
_AMOUNT: Final = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z-]+)\s*", re.IGNORECASE)
_SECONDS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_CORE_HOURS: Final = ("core-hour", "core-hours", "ch")
_RUNS: Final = ("run", "runs")


@dataclass(frozen=True, slots=True)
class Need:
    """What would decide an undecided cell.

    Attributes:
        seeds: Number of seeds; None: more than a study uses.
        widths: Widths.
        runs: Further runs.
        core_seconds: Their work on one core.
        tolerance: With this tolerance the present data would do.
    """

    seeds: int | None
    widths: tuple[int, ...]
    runs: int | None
    core_seconds: float | None
    tolerance: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One number against one prediction.

    Attributes:
        name: What it is: "h^2 at step 0", "drift of the best rate".
        value: The estimate; None before there is one.
        low: Lower end of its interval, which holds over all cells and looks of the study; None: none.
        high: Upper end.
        predicted_low: Lower end of what theory predicts; None: no lower bound.
        predicted_high: Upper end. Without both there is no prediction.
        tolerance: Distance from the prediction that still agrees.
        widths: Widths measured, ascending.
        seeds: Complete seeds.
        sentence: All of it in words.
        why: Why it is undecided, or why there is no prediction.
        layer: Layer, from 1; 0: none is meant.
        step: Updates done.
        unit: "slope", "octaves per doubling", "accuracy" or "distance".
        need: What would decide it; None where that is not known.
    """

    name: str
    verdict: StudyVerdict
    value: float | None
    low: float | None
    high: float | None
    predicted_low: float | None
    predicted_high: float | None
    tolerance: float
    widths: tuple[int, ...]
    seeds: int
    sentence: str
    why: str
    layer: int
    step: int
    unit: str
    need: Need | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a study says of one subject.

    Attributes:
        subject: As "ip-llr (relu, 3 hidden layers)".
        verdict: So far.
        sentence: With number, interval, what was spent, and what theory predicted.
        cells: One number against one prediction each.
    """

    subject: str
    verdict: StudyVerdict
    sentence: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """Runs that were asked for together.

    Attributes:
        number: 1, 2, 3, ...
        why: What for.
        runs: Number of runs.
        experiments: Names of the experiments that it created or extended.
        learned: What was known of each subject after it; () until it has ended.
        create_time: When it was planned (UTC).
    """

    number: int
    why: str
    runs: int
    experiments: tuple[str, ...]
    learned: tuple[str, ...]
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Spent:
    """What a study has spent.

    Attributes:
        runs: Runs that have ended.
        asked_runs: Runs that it has asked for.
        core_seconds: Work on one core, of the rounds that have ended.
        wall_seconds: From its acceptance to its end, or until it was read.
    """

    runs: int
    asked_runs: int
    core_seconds: float
    wall_seconds: float


class Study(StudyFields):
    """A question with its answer, as of the last time it was read (`refresh`).

    Attributes:
        id: The last part of its name.
    """

    def __init__(self, transport: Transport, message: study_pb2.Study) -> None:
        self._transport = transport
        self._take(message)

    def _take(self, message: study_pb2.Study) -> None:
        self._study = message
        self.id = message.name.rpartition("/")[2]

    def __repr__(self) -> str:
        return f"<Study {self.id or '(not created)'}: {self.question}, {self.state}, {self.verdict}>"

    @property
    def question(self) -> str:
        """What is asked: one of `QUESTIONS`."""
        return (self._study.spec.WhichOneof("question") or "").replace("_", "-")

    @property
    def spec(self) -> study_pb2.StudySpec:
        """What is asked, with defaults filled in (a copy)."""
        copy = study_pb2.StudySpec()
        copy.CopyFrom(self._study.spec)
        return copy

    @property
    def state(self) -> StudyState:
        """Where it stands."""
        return member(StudyState, self._study, "state")

    @property
    def verdict(self) -> StudyVerdict:
        """The answer, or what is known so far."""
        return member(StudyVerdict, self._study, "verdict")

    @property
    def reason(self) -> StudyReason:
        """Why it has ended."""
        return member(StudyReason, self._study, "reason")

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answer for each subject, or what is known so far."""
        return tuple(read(Answer, answer) for answer in self._study.answers)

    @property
    def rounds(self) -> tuple[Round, ...]:
        """What was trained, why, and what was learned."""
        return tuple(read(Round, one) for one in self._study.rounds)

    @property
    def spent(self) -> Spent:
        """What it has spent."""
        return read(Spent, self._study.spent)

    def to_dict(self) -> dict[str, object]:
        """All fields as plain values, as `iplab study show --json` prints them."""
        return to_plain(self._study)

    def refresh(self) -> Study:
        """Read it again. Returns itself."""
        request = study_service_pb2.GetStudyRequest(name=self.name)
        self._take(self._transport.call(self._transport.studies.GetStudy, request))
        return self

    def cancel(self) -> Study:
        """End it and cancel its experiments; harmless if it has ended. Returns itself, with the new state."""
        request = study_service_pb2.CancelStudyRequest(name=self.name)
        self._take(self._transport.call(self._transport.studies.CancelStudy, request))
        return self

    def delete(self) -> None:
        """Delete its record; its experiments stay.

        Raises:
            InvalidRequestError: It has not ended.
        """
        request = study_service_pb2.DeleteStudyRequest(name=self.name)
        self._transport.call(self._transport.studies.DeleteStudy, request, repeat=False)

    def trained(self) -> Iterator[Experiment]:
        """Its experiments, in the order of their creation."""
        for name in self.experiments:
            request = experiment_service_pb2.GetExperimentRequest(name=name)
            message = self._transport.call(self._transport.experiments.GetExperiment, request)
            yield Experiment(self._transport, message)

    def watch(self, timeout: float | None = None) -> Iterator[Study]:
        """Itself whenever it has changed, as it is now and then until it has ended.

        A connection that breaks does not end the iteration.

        Args:
            timeout: Seconds until TimedOutError; None: no limit.

        Raises:
            UnavailableError: The service stayed away for a minute.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        delay, lost = _FIRST_DELAY, None
        request = study_service_pb2.WatchStudyRequest(name=self.name)
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            try:
                stream = self._transport.stream(self._transport.studies.WatchStudy, request, timeout=left)
                for answer in stream:
                    delay, lost = _FIRST_DELAY, None
                    self._take(answer.study)
                    yield self
                if self.state.terminal:
                    return
            except TimedOutError:
                if left is None:
                    raise
                raise TimedOutError(f"{self.name} has not ended within {timeout:g} s") from None
            except UnavailableError:
                lost = time.monotonic() if lost is None else lost
                if time.monotonic() - lost > _PATIENCE:
                    raise
            pause(delay)
            delay = min(2 * delay, _LAST_DELAY)

    def wait(self, progress: bool = True, timeout: float | None = None) -> Study:
        """Wait until it has ended.

        Args:
            progress: Show rounds with what was learned on standard error.
            timeout: Seconds until TimedOutError; None: no limit.

        Returns:
            Itself, read again.
        """
        from iplab.progress import follow_study  # noqa: PLC0415 - rich only where something is drawn

        follow_study(self.watch(timeout), show=progress)
        return self

    def plot(self) -> Picture:
        """Its figure: losses against the rate for a rate transfer, else all numbers with their intervals.

        Raises:
            NothingToDraw: It has measured nothing yet.
        """
        from iplab.study_pictures import picture_of  # noqa: PLC0415 - numpy only for pictures

        return picture_of(self)

    def _repr_html_(self) -> str:
        """In a notebook: the answer, a row per cell, and what was spent."""
        rows = "".join(
            f"<tr><td>{html.escape(answer.subject)}</td><td>{html.escape(cell.name)}</td>"
            f"<td>{interval_text(cell)}</td><td>{prediction_text(cell)}</td><td>{cell.verdict.words}</td></tr>"
            for answer in self.answers
            for cell in answer.cells
        )
        headings = ("subject", "number", "95 % interval", "theory", "verdict")
        head = "".join(f"<th>{name}</th>" for name in headings)
        sentence = html.escape(self.sentence or f"{self.question}: {self.state}")
        table = f"<table><tr>{head}</tr>{rows}</table>" if rows else ""
        return f"<p><b>{sentence}</b></p>{table}<p>{html.escape(spent_text(self.spent))}</p>"


def interval_text(cell: Cell) -> str:
    """As "0.03 (-0.15 .. 0.20)"; "" before there is an estimate."""
    if cell.value is None:
        return ""
    low = "-inf" if cell.low is None else f"{cell.low:.2f}"
    high = "inf" if cell.high is None else f"{cell.high:.2f}"
    return f"{cell.value:.2f} ({low} .. {high})"


def prediction_text(cell: Cell) -> str:
    """As "0", "0 .. 1" or "at most 1"; "" without a prediction."""
    low, high = cell.predicted_low, cell.predicted_high
    if low is None and high is None:
        return ""
    if low is None:
        return f"at most {high:.3g}"
    if high is None:
        return f"at least {low:.3g}"
    return f"{low:.3g}" if low == high else f"{low:.3g} .. {high:.3g}"


def spent_text(spent: Spent) -> str:
    """As "206 runs, 9 core-seconds, 12 s"."""
    return f"{spent.runs} runs, {spent.core_seconds:.0f} core-seconds, {spent.wall_seconds:.0f} s"


def budget_of(text: str) -> study_pb2.StudyBudget:
    """A budget as people write it: wall time, runs, core-hours, or several joined by commas.

    Raises:
        InvalidRequestError: It is none.

    >>> budget_of("10m, 400 runs").wall_seconds, budget_of("10m, 400 runs").runs
    (600.0, 400)
    """
    budget = study_pb2.StudyBudget()
    for part in text.split(","):
        found = _AMOUNT.fullmatch(part)
        try:
            amount, unit = (float(found[1]), found[2].lower()) if found else (0.0, "")
        except ValueError:
            amount, unit = 0.0, ""
        if unit in _SECONDS:
            budget.wall_seconds = amount * _SECONDS[unit]
        elif unit in _CORE_HOURS:
            budget.core_hours = amount
        elif unit in _RUNS and amount == int(amount):
            budget.runs = int(amount)
        else:
            message = f"{part.strip()!r} is no amount; write wall time as 10m, 400 runs, or 1.5 core-hours"
            raise InvalidRequestError([Violation("budget", message)])
    return budget


def study_message(
    question: str,
    base: ExperimentSpec,
    budget: str,
    tolerance: float | None,
    error_rate: float | None,
    settings: Mapping[str, object],
) -> study_pb2.StudySpec:
    """The spec of a study.

    Raises:
        InvalidRequestError: An unknown question, a setting that it does not have, or a wrong budget.
    """
    if question not in QUESTIONS:
        message = f"{question!r} is none; ask one of {', '.join(QUESTIONS)}"
        raise InvalidRequestError([Violation("question", message)])
    spec = study_pb2.StudySpec(base=base, budget=budget_of(budget))
    if tolerance is not None:
        spec.tolerance = tolerance
    if error_rate is not None:
        spec.error_rate = error_rate
    part = getattr(spec, question.replace("-", "_"))
    part.SetInParent()
    known = [field.name for field in part.DESCRIPTOR.fields]
    wrong = [
        Violation(name, f"is no setting of {question}; it has: {', '.join(known) or 'none'}")
        for name in settings
        if name not in known
    ]
    if wrong:
        raise InvalidRequestError(wrong)
    try:
        json_format.ParseDict(dict(settings), part)
    except json_format.ParseError as error:
        raise InvalidRequestError([Violation(question, str(error))]) from None
    return spec

"""The fields of a study, without the calls that change or follow it."""

from __future__ import annotations

from iplab.given import Handle
from iplab.results.reading import member, read
from iplab.results.states import StudyReason, StudyState, StudyVerdict
from iplab.specs.plain import to_plain
from iplab.studies.answers import Answer, Round, Spent, interval_text, prediction_text, spent_text
from iplab.v1 import study_pb2
from iplab.v1.fields import StudyFields


class StudyView(StudyFields, Handle):
    """A question with its answer, as of the last read.

    Attributes:
        id: The last part of its name.
    """

    def __init__(self, message: study_pb2.Study) -> None:
        self._take(message)

    def _take(self, message: study_pb2.Study) -> None:
        self._study = message
        self.id = message.name.rpartition("/")[2]

    def __repr__(self) -> str:
        return f"<Study {self.id or '(not created)'}: {self.question}, {self.state}, {self.verdict}>"

    @property
    def question(self) -> str:
        """The question: one of `QUESTIONS`."""
        return (self._study.spec.WhichOneof("question") or "").replace("_", "-")

    @property
    def spec(self) -> study_pb2.StudySpec:
        """The question and its settings, with defaults filled in (a copy)."""
        copy = study_pb2.StudySpec()
        copy.CopyFrom(self._study.spec)
        return copy

    @property
    def state(self) -> StudyState:
        """Its state."""
        return member(StudyState, self._study, "state")

    @property
    def verdict(self) -> StudyVerdict:
        """The answer, or the present verdict."""
        return member(StudyVerdict, self._study, "verdict")

    @property
    def reason(self) -> StudyReason:
        """Why it has ended."""
        return member(StudyReason, self._study, "reason")

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answer for each subject, or the present verdict."""
        return tuple(read(Answer, answer) for answer in self._study.answers)

    @property
    def rounds(self) -> tuple[Round, ...]:
        """The rounds: what was trained, why, and what it showed."""
        return tuple(read(Round, one) for one in self._study.rounds)

    @property
    def spent(self) -> Spent:
        """The cost so far."""
        return read(Spent, self._study.spent)

    def to_dict(self) -> dict[str, object]:
        """All fields as plain values, as `iplab study show --json` prints them."""
        return to_plain(self._study)

    def _repr_html_(self) -> str:
        """In a notebook: the answer, a row per cell, and the cost."""
        from iplab.display import html  # noqa: PLC0415 - notebooks alone

        rows = [
            (answer.subject, cell.name, interval_text(cell), prediction_text(cell), cell.verdict.words)
            for answer in self.answers
            for cell in answer.cells
        ]
        return html.titled(
            self.sentence or f"{self.question}: {self.state}",
            html.table_html(("subject", "number", "95 % interval", "theory", "verdict"), rows)
            if rows
            else "",
            html.paragraph(spent_text(self.spent)),
        )

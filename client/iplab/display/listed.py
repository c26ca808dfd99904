"""Listings as tables of HTML, a row per item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from iplab.display import html

if TYPE_CHECKING:
    from iplab.results.experiment import Experiment
    from iplab.results.run import Run
    from iplab.studies.study import Study
    from iplab.v1.audit_service_pb2 import AuditEntry

AUDIT_HEADINGS: Final = ("time (UTC)", "user", "from", "method", "resource", "project", "result")


def experiments(found: Sequence[Experiment]) -> str:
    """State, runs and name of each."""
    rows = [
        (
            one.id,
            one.outcome,
            one.counts.total,
            one.counts.diverged or "",
            f"{one.committed_steps:,} of {one.total_steps:,}",
            f"{one.create_time:%Y-%m-%d %H:%M}",
            one.display_name,
        )
        for one in found
    ]
    headings = ("experiment", "state", "runs", "diverged", "steps", "created (UTC)", "name")
    return html.table_html(headings, rows, right=(False, False, True, True, True, False, False))


def runs(found: Sequence[Run]) -> str:
    """As `iplab runs` shows them."""
    from iplab.display.tables import runs_table  # noqa: PLC0415 - rich only where something is drawn

    return html.of_table(runs_table(found))


def studies(found: Sequence[Study]) -> str:
    """Question, state and answer of each."""
    rows = [(one.id, one.question, one.state, one.verdict.words, one.sentence) for one in found]
    return html.table_html(("study", "question", "state", "verdict", "answer"), rows)


def audit(found: Sequence[AuditEntry]) -> str:
    """As `iplab audit` shows the calls."""
    return html.table_html(AUDIT_HEADINGS, [audit_row(entry) for entry in found])


def audit_row(entry: AuditEntry) -> tuple[str, ...]:
    """A call, its fields in the order of `AUDIT_HEADINGS`."""
    several = f" ({entry.calls} calls)" if entry.calls > 1 else ""
    return (
        entry.time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S"),
        entry.user,
        entry.peer,
        entry.method.rpartition("/")[2],
        entry.resource,
        entry.project,
        (entry.code or "?") + several,
    )

"""Listings as tables of HTML, a row per item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from iplab.display import html

if TYPE_CHECKING:
    from iplab.results.experiment import Experiment
    from iplab.results.run import Run
    from iplab.studies.study import Study


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

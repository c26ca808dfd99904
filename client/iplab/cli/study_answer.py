"""Prints, awaits and draws the answer of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from iplab.cli.app import (
    DISAGREES,
    ENDED_BADLY,
    UNDECIDED,
    note,
    print_json,
)
from iplab.cli.edit import deletion
from iplab.display.terminal import echo, folded

if TYPE_CHECKING:
    from iplab.studies.study import Study


def print_study(found: Study) -> None:
    """Print the answer, a row per number, the rounds, and the spent budget."""
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - as above
    from iplab.studies.answers import interval_text, prediction_text, spent_text  # noqa: PLC0415 - as above

    if found.delete_time is not None:
        echo(f"it {deletion(found)}")
    echo(folded(found.sentence or f"{found.id} is {found.state}; nothing is known yet"))
    for line in found.notes.splitlines():
        echo(folded(line))
    for warning in found.warnings:
        echo(folded(f"warning: {warning}"))
    rows = [
        (answer.subject, cell.name, interval_text(cell), prediction_text(cell), cell.verdict.words)
        for answer in found.answers
        for cell in answer.cells
    ]
    if rows:
        headings = ["subject", "quantity", "95 % interval", "theory", "verdict"]
        print_table(table_of(headings, rows, folding={"subject", "quantity"}))
    for one in found.rounds:
        echo(folded(f"round {one.number}: {one.runs} runs: {one.why}"))
    echo(f"{found.id} is {found.state}; spent: {spent_text(found.spent)}")


def finish(context: click.Context, asked: Study, picture: str | None, *, as_json: bool) -> None:
    """Wait, print the answer and the picture's path, and exit by the verdict."""
    from iplab.results.states import StudyState, StudyVerdict  # noqa: PLC0415 - messages only after connecting
    from iplab.studies.answers import spent_text  # noqa: PLC0415

    try:
        asked.wait()
    except KeyboardInterrupt:
        note(f"{asked.id} continues; follow it again with: iplab study watch {asked.id}")
        raise
    path = _save_picture(asked, picture)
    if as_json:
        print_json(asked.to_dict())
    else:
        echo(folded(asked.sentence))
        echo(f"spent: {spent_text(asked.spent)}")
        if path is not None:
            echo(f"picture: {path}")
    if asked.state is not StudyState.SUCCEEDED:
        context.exit(ENDED_BADLY)
    if asked.verdict is StudyVerdict.DISAGREES:
        context.exit(DISAGREES)
    if asked.verdict is StudyVerdict.UNDECIDED:
        context.exit(UNDECIDED)


def _save_picture(asked: Study, file: str | None) -> Path | None:
    """Save the study's picture; None if there is nothing to draw, or nothing to draw it with."""
    from iplab.studies.pictures import NothingToDraw, picture_of  # noqa: PLC0415 - numpy only for pictures

    try:
        saved: Path = picture_of(asked).save(file or f"{asked.id}.svg")
        return saved.absolute()
    except NothingToDraw as error:
        note(f"no picture: {error}")
    except ImportError:
        text = "a picture needs matplotlib: pip install 'iplab[plot]'"
        if file:
            raise click.UsageError(f"--picture: {text}") from None
        note(f"no picture: {text}")
    except ValueError as error:
        raise click.UsageError(f"--picture: {error}") from None
    return None

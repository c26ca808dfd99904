"""Rounds of studies: begun and ended under the lease of a driver."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from ipserver.errors import Fenced
from ipserver.store.database import Transaction
from ipserver.store.records.studies import NewRound, StudyOutcome, StudyRecord
from ipserver.store.states import StudyState
from ipserver.store.tables import attempts, packs, studies, study_rounds
from ipserver.store.transactions import clocks
from ipserver.store.transactions.studies import change, get


def require(transaction: Transaction, study: str, token: int) -> sa.Row[Any]:
    """Lock a study that is held under this token.

    Raises:
        Fenced: The token is not current, or the study has ended.
    """
    row = transaction.connection.execute(
        sa.select(studies).where(studies.c.id == study).with_for_update()
    ).one_or_none()
    if row is None or row.token != token or row.end_time is not None:
        raise Fenced(f"study {study!r} is not held under token {token}")
    return row


def require_wanted(transaction: Transaction, study: str, token: int) -> sa.Row[Any]:
    """As `require`, for an action: Fenced also if cancellation was requested."""
    row = require(transaction, study, token)
    if row.cancel_requested:
        raise Fenced(f"study {study!r} is being cancelled")
    return row


def begin_round(
    transaction: Transaction, study: str, token: int, new: NewRound, outcome: StudyOutcome
) -> StudyRecord:
    """See `Store.begin_round`."""
    row = require(transaction, study, token)
    if row.cancel_requested:
        raise Fenced(f"study {study!r} is being cancelled")
    _learn(transaction, study, outcome)
    transaction.connection.execute(
        sa.insert(study_rounds).values(
            study=study,
            number=new.number,
            why=new.why,
            actions=[dict(action) for action in new.actions],
            runs=new.runs,
            done=False,
            learned=[],
            create_time=transaction.now(),
        )
    )
    change(transaction, row, outcome=asdict(outcome))
    return get(transaction, study)


def end_actions(transaction: Transaction, study: str, token: int, number: int) -> StudyRecord:
    """See `Store.end_actions`."""
    row = require(transaction, study, token)
    this = sa.and_(study_rounds.c.study == study, study_rounds.c.number == number)
    transaction.connection.execute(sa.update(study_rounds).where(this).values(done=True))
    change(transaction, row)
    return get(transaction, study)


def finish(
    transaction: Transaction, study: str, token: int, state: StudyState, outcome: StudyOutcome
) -> StudyRecord:
    """See `Store.finish_study`."""
    row = require(transaction, study, token)
    if row.cancel_requested and state is not StudyState.CANCELLED:
        raise Fenced(f"study {study!r} is being cancelled")
    _learn(transaction, study, outcome)
    change(
        transaction,
        row,
        state=state,
        outcome=asdict(outcome),
        end_time=transaction.now(),
        owner="",
        expires=None,
        lease_seconds=None,
    )
    return get(transaction, study)


def seconds(transaction: Transaction, experiment: str) -> dict[str, tuple[float, int]]:
    """See `Store.pack_seconds`."""
    worked = sa.func.sum(clocks.lasted(attempts.c.start_time, attempts.c.end_time, transaction.now()))
    statement = (
        sa.select(attempts.c.pack, worked.label("seconds"), packs.c.runs)
        .join(packs, sa.and_(packs.c.experiment == attempts.c.experiment, packs.c.id == attempts.c.pack))
        .where(attempts.c.experiment == experiment, attempts.c.end_time.is_not(None))
        .group_by(attempts.c.pack, packs.c.runs)
    )
    rows = transaction.connection.execute(statement)
    return {row.pack: (row.seconds, row.runs) for row in rows}


def _learn(transaction: Transaction, study: str, outcome: StudyOutcome) -> None:
    """Record the findings of the round that has just ended, if there is one."""
    transaction.connection.execute(
        sa.update(study_rounds)
        .where(study_rounds.c.study == study, study_rounds.c.end_time.is_(None))
        .values(
            learned=[answer["sentence"] for answer in outcome.answers],
            end_time=transaction.now(),
        )
    )

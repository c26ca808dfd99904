"""Ended packs whose uncommitted files are to be removed."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.packs import EndedPack
from ipserver.store.states import PackState
from ipserver.store.tables import artifacts, attempts, checkpoints, packs, runs
from ipserver.store.transactions import clocks
from ipserver.store.transactions.edits import editing


def unswept(transaction: Transaction, quiet_seconds: float, limit: int) -> list[EndedPack]:
    """See `Store.unswept`."""
    connection = transaction.connection
    # A pack cancelled while it waited may have no attempts, or only older ones.
    recent = sa.exists().where(
        attempts.c.experiment == packs.c.experiment,
        attempts.c.pack == packs.c.id,
        sa.or_(attempts.c.end_time.is_(None), attempts.c.end_time > transaction.now() - quiet_seconds),
    )
    found = connection.execute(
        sa.select(packs.c.experiment, packs.c.id)
        .where(packs.c.state == PackState.DONE, packs.c.swept_time.is_(None), ~recent)
        .order_by(packs.c.experiment, packs.c.id)
        .limit(limit)
    ).all()
    ended = []
    for experiment, pack in found:
        # Includes runs that continued in a part of the pack: their earlier files are in this pack's folder.
        here = sa.or_(runs.c.pack == pack, runs.c.pack.startswith(f"{pack}-", autoescape=True))
        members = sa.select(runs.c.run_index).where(runs.c.experiment == experiment, here)
        named = sa.select(artifacts.c.location).where(
            artifacts.c.experiment == experiment, artifacts.c.run_index.in_(members)
        )
        ended.append(EndedPack(experiment, pack, frozenset(connection.execute(named).scalars())))
    return ended


def any_ahead(transaction: Transaction) -> bool:
    """Whether an attempt's end lies in the future, written by a clock that was ahead."""
    ahead = attempts.c.end_time > transaction.now() + clocks.SLACK_SECONDS
    return bool(transaction.connection.execute(sa.select(sa.exists().where(ahead))).scalar_one())


def bring_back(transaction: Transaction) -> None:
    """Set ends of attempts that lie in the future to now, so that the quiet time starts now."""
    now = transaction.now()
    ahead = attempts.c.end_time > now + clocks.SLACK_SECONDS
    transaction.connection.execute(sa.update(attempts).where(ahead).values(end_time=now))


def mark_swept(transaction: Transaction, experiment: str, pack: str) -> None:
    """See `Store.mark_swept`."""
    with editing(transaction, experiment):
        this = (packs.c.experiment == experiment, packs.c.id == pack, packs.c.state == PackState.DONE)
        marked = transaction.connection.execute(
            sa.update(packs).where(*this).values(swept_time=transaction.now())
        )
        if marked.rowcount:
            transaction.connection.execute(
                sa.delete(checkpoints).where(
                    checkpoints.c.experiment == experiment, checkpoints.c.pack == pack
                )
            )

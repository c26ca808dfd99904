"""The board: leased and waiting packs of a cluster. Its dispatchers decide from it, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.board import Board, Claim, Move, Moved, Queued
from ipserver.store.states import PackState
from ipserver.store.tables import URGENCY, experiments, packs, singletons
from ipserver.store.transactions.edits import editing
from ipserver.store.transactions.leases import lease

# Number of most urgent experiments on the board, of any shape: enough to decide for which to make room.
_PAGE: Final = 64
_PLACEMENT: Final = "placement"


def look(transaction: Transaction, cluster: str) -> Board:
    """See `Store.board`."""
    return Board(_claims(transaction, cluster), _queued(transaction))


def place(
    transaction: Transaction, cluster: str, owner: str, ttl: float, decide: Callable[[Board], Move]
) -> Moved:
    """See `Store.place`."""
    transaction.connection.execute(
        sa.select(singletons.c.name).where(singletons.c.name == _PLACEMENT).with_for_update()
    )
    move = decide(look(transaction, cluster))
    if move.giving:
        _make_room(transaction, move)
        return Moved(decided=True)  # a start is decided anew: locks are taken in the order of experiments
    if move.start is None:
        return Moved(decided=False)
    experiment, node = move.start
    pack = lease(transaction, experiment, owner, ttl, cluster, node)
    return Moved(decided=True, pack=pack, node=node)


def lie(transaction: Transaction, experiment: str, pack: str, token: int, node: str) -> None:
    """See `Store.lie`."""
    transaction.connection.execute(
        sa.update(packs)
        .where(
            packs.c.experiment == experiment,
            packs.c.id == pack,
            packs.c.token == token,
            packs.c.state == PackState.LEASED,
        )
        .values(node=node)
    )


def _claims(transaction: Transaction, cluster: str) -> tuple[Claim, ...]:
    rows = transaction.connection.execute(
        sa.select(
            packs.c.experiment,
            packs.c.id.label("pack"),
            packs.c.token,
            packs.c.owner,
            experiments.c.shape,
            experiments.c.priority,
            packs.c.node,
            packs.c.leaving,
            experiments.c.project,
        )
        .join(experiments, experiments.c.id == packs.c.experiment)
        .where(packs.c.expires > transaction.now(), packs.c.cluster == cluster)
        .where(packs.c.state == PackState.LEASED)
        .order_by(*URGENCY, packs.c.id)
    )
    return tuple(Claim(**row._mapping) for row in rows)


def _queued(transaction: Transaction) -> tuple[Queued, ...]:
    """The most urgent experiments of all, and the first of each shape in each project.

    Every step is an index search.
    """
    columns = (
        experiments.c.id.label("experiment"),
        experiments.c.queue.label("shape"),
        experiments.c.priority,
        experiments.c.create_time,
        experiments.c.waiting.label("packs"),
        experiments.c.project,
    )
    waits = experiments.c.queue.is_not(None)
    page = sa.select(*columns).where(waits).order_by(*URGENCY).limit(_PAGE)
    found: list[sa.Row[Any]] = list(transaction.connection.execute(page))
    if len(found) == _PAGE:  # otherwise there are no others
        found += transaction.connection.execute(_heads(*columns))
    queued = {Queued(**row._mapping) for row in found}
    return tuple(sorted(queued, key=lambda it: (-it.priority, it.create_time, it.experiment)))


def _heads(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """The most urgent experiment of each project and shape, by an index search from one pair to the next."""
    first, following = experiments.alias("first"), experiments.alias("following")
    one = sa.select(first.c.id).where(first.c.queue.is_not(None)).order_by(*_by_pair(first)).limit(1)
    pair = (experiments.c.id, experiments.c.project, experiments.c.queue)
    heads = sa.select(*pair).where(experiments.c.id == one.scalar_subquery()).cte("heads", recursive=True)
    # SQLite searches the index by both columns only if the second is compared with an expression, not a
    # column. Otherwise it scans everything that waits in the project.
    beyond = sa.tuple_(following.c.project, following.c.queue) > sa.tuple_(
        heads.c.project, heads.c.queue + ""
    )
    after = (
        sa.select(following.c.id)
        .where(following.c.queue.is_not(None), beyond)
        .order_by(*_by_pair(following))
        .limit(1)
        .scalar_subquery()
        .correlate(heads)
    )
    found = experiments.alias("found")
    heads = heads.union_all(
        sa.select(found.c.id, found.c.project, found.c.queue).join_from(heads, found, found.c.id == after)
    )
    return sa.select(*columns).join_from(heads, experiments, experiments.c.id == heads.c.id)


def _by_pair(table: sa.FromClause) -> tuple[sa.ColumnElement[Any], ...]:
    """The order of `ix_experiments_shares`."""
    return (
        table.c.project,
        table.c.queue,
        table.c.priority.desc(),
        table.c.create_time,
        table.c.id,
    )


def _make_room(transaction: Transaction, move: Move) -> None:
    """Mark packs to make room, unless they are marked or have ended; their owners see it on the board."""
    giving = sorted(move.giving.items())
    for experiment, leases in groupby(giving, key=lambda it: it[0][0]):
        with editing(transaction, experiment) as edit:
            for (_, pack, token), whom in leases:
                marked = transaction.connection.execute(
                    sa.update(packs)
                    .where(packs.c.experiment == experiment, packs.c.id == pack, packs.c.token == token)
                    .where(packs.c.state == PackState.LEASED, ~packs.c.leaving)
                    .values(leaving=True)
                ).rowcount
                if marked:
                    text = f"pack {pack} makes room for {whom} of higher priority; it continues later"
                    edit.event("notice", {"message": text})

"""Groups of runs that agree in some fields, by page.

The database finds the groups of a page first, and only rows of their runs are read, so that a page costs the
same however many runs the experiment has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.filters import Filter
from ipserver.store.tables import runs
from ipserver.store.transactions import experiments as experiment_store
from ipserver.store.transactions.comparisons import RUN_FIELDS, run_condition


def groups(
    transaction: Transaction,
    experiment: str,
    by: Sequence[str],
    columns: Sequence[str],
    where: Filter,
    limit: int,
    start: int,
) -> list[list[tuple[Any, ...]]]:
    """See `Store.run_groups`."""
    experiment_store.require(transaction, experiment)
    axes, wanted = _fields(by), _fields(columns)
    among = sa.and_(runs.c.experiment == experiment, run_condition(where))
    page = _page(axes, among).limit(limit).offset(start)
    found: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {
        tuple(row): [] for row in transaction.connection.execute(page)
    }
    members = sa.select(*wanted).where(among).order_by(runs.c.run_index)
    if start or len(found) == limit:  # there may be other groups
        members = members.where(sa.tuple_(*axes).in_(page))
    places = [columns.index(name) for name in by]
    for row in transaction.connection.execute(members):
        # On PostgreSQL, a group may appear between the two statements.
        if (group := found.get(tuple([row[place] for place in places]))) is not None:
            group.append(tuple(row))
    return [group for group in found.values() if group]


def has_value(transaction: Transaction, experiment: str, column: str, where: Filter) -> bool:
    """See `Store.has_value`."""
    experiment_store.require(transaction, experiment)
    (field,) = _fields([column])
    among = sa.and_(runs.c.experiment == experiment, run_condition(where), field.is_not(None))
    return bool(transaction.connection.execute(sa.select(sa.exists().where(among))).scalar_one())


def _page(axes: Sequence[sa.Column[Any]], among: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Query of the groups in order, each as its values of the axes."""
    first = sa.func.min(runs.c.run_index)
    order: list[sa.ColumnElement[Any]] = [first]
    if runs.c.parameterization in set(axes):
        order.insert(0, sa.func.min(first).over(partition_by=runs.c.parameterization))
    return sa.select(*axes).where(among).group_by(*axes).order_by(*order)


def _fields(names: Sequence[str]) -> list[sa.Column[Any]]:
    if unknown := [name for name in names if name not in RUN_FIELDS]:
        raise ValueError(f"there is no field {unknown[0]!r}")
    return [RUN_FIELDS[name] for name in names]

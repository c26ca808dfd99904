"""Orders of runs as SQL: sort keys, and the condition for a page's start.

Runs without a value come last in either direction, so each key becomes two columns: whether there is a value,
and the value. The index as last key makes the order total.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ipserver.store.records.filters import Order
from ipserver.store.tables import experiments, runs
from ipserver.store.transactions.comparisons import RUN_FIELDS, literal

Value = str | int | float | None


def run_order(order: Sequence[Order]) -> list[sa.ColumnElement[Any]]:
    """Sort keys for rows of `select_runs`. Raises ValueError if runs have no such field."""
    keys: list[sa.ColumnElement[Any]] = []
    for key in order:
        column = _column(key)
        keys += [column.is_(None), column.desc() if key.descending else column.asc()]
    return [*keys, runs.c.run_index]


def following(order: Sequence[Order], place: Sequence[Value]) -> sa.ColumnElement[bool]:
    """The condition that a row follows the one with these values of the keys and this index; (): true."""
    if not place:
        return sa.true()
    *values, index = place
    same: list[sa.ColumnElement[bool]] = []
    later: list[sa.ColumnElement[bool]] = []
    for key, value in zip(order, values, strict=True):
        column = _column(key)
        if value is None:
            same.append(column.is_(None))
            continue
        here = literal(value)
        beyond = column < here if key.descending else column > here
        later.append(sa.and_(*same, sa.or_(beyond, column.is_(None))))
        same.append(column == here)
    return sa.or_(*later, sa.and_(*same, runs.c.run_index > sa.literal(index, sa.BigInteger())))


def _column(key: Order) -> sa.ColumnElement[Any]:
    if key.field == "pack":  # as in records, a plan becomes visible when it is complete
        shown = sa.or_(experiments.c.planned, runs.c.run_index < experiments.c.planned_runs)
        return sa.case((shown, runs.c.pack), else_="")
    if key.field not in RUN_FIELDS:
        raise ValueError(f"there is no field {key.field!r}")
    return RUN_FIELDS[key.field]

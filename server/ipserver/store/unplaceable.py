"""Experiments whose packs no node can hold: since when, and their end."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from ipserver.states import PackState
from ipserver.store.database import Transaction
from ipserver.store.edits import editing
from ipserver.store.records import Failure
from ipserver.store.tables import packs, runs
from ipserver.transitions import Change


def unplaceable(transaction: Transaction, experiment: str, timeout: float, failure: Failure) -> int:
    """See `Store.unplaceable`."""
    with editing(transaction, experiment) as edit:
        if edit.pausing:
            return 0
        waiting = transaction.connection.execute(
            sa.select(packs.c.id).where(packs.c.experiment == experiment, packs.c.state == PackState.QUEUED)
        ).scalars()
        names = waiting.all()
        if not names:
            return 0
        now = transaction.now()
        since = edit.before.unplaceable_since
        if since is None or since > now:  # or: said by a clock that was ahead then
            edit.values["unplaceable_since"] = now
            return 0
        if now - since < timeout:
            return 0
        edit.values["unplaceable_since"] = None
        edit.change(Change.REFUSE, runs.c.pack.in_(names), failure=asdict(failure))
        edit.close_idle_packs()
        return len(names)


def placeable(transaction: Transaction, experiment: str) -> None:
    """See `Store.placeable`."""
    with editing(transaction, experiment) as edit:
        if edit.before.unplaceable_since is not None:
            edit.values["unplaceable_since"] = None

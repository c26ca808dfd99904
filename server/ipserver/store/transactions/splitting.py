"""Splitting: a pack that is too large for its worker becomes two packs of half its runs each.

Each part continues from the pack's committed step. The parts' ids contain the pack's id (`names.lineage`),
because segments recorded earlier stay with the pack that recorded them. The pack's checkpoints do not fit the
parts, so they repeat the committed steps without recording them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ipserver.names import part_of
from ipserver.store.database import Transaction
from ipserver.store.records.networks import AXES
from ipserver.store.records.runs import Failure
from ipserver.store.states import PackState
from ipserver.store.tables import packs, runs
from ipserver.store.transactions.edits import UNFINISHED, Edit, editing
from ipserver.store.transactions.leases import finish, in_pack, leased_pack
from ipserver.store.transitions import Change


def split(transaction: Transaction, experiment: str, name: str, token: int, failure: Failure) -> None:
    """See `Store.split_pack`."""
    with editing(transaction, experiment) as edit:
        pack = leased_pack(edit, name, token)
        edit.change(Change.STOP, in_pack(name))
        edit.change(Change.GIVE_BACK, in_pack(name))
        statement = (
            sa.select(runs.c.run_index)
            .where(runs.c.experiment == experiment, in_pack(name), runs.c.state.in_(UNFINISHED))
            .order_by(runs.c.run_index)
        )
        members = list(transaction.connection.execute(statement).scalars())
        if len(members) < 2:
            raise ValueError(f"pack {name!r} has {len(members)} runs left to train; at least two are needed")
        half = (len(members) + 1) // 2
        for number, part in enumerate((members[:half], members[half:]), start=1):
            insert_part(edit, pack, part_of(name, number), part)
        # It has no runs left to train any more.
        finish(edit, pack, failure.reason)


def insert_part(edit: Edit, pack: sa.Row[Any], name: str, members: Sequence[int]) -> None:
    """Insert a pack of some runs of another pack, which continues from that pack's committed step."""
    copied = ("experiment", *AXES, "steps", "committed_steps")
    row = {key: getattr(pack, key) for key in copied} | {
        "id": name,
        "runs": len(members),
        "memory_bytes": pack.memory_bytes * len(members) // pack.runs,
        "state": PackState.QUEUED,
        # Continue the tokens, so that no folder is used that an earlier attempt may still write to.
        "token": pack.token,
        "owner": "",
    }
    connection = edit.transaction.connection
    connection.execute(sa.insert(packs).values(row))
    edit.waiting += 1
    connection.execute(
        sa.update(runs)
        .where(runs.c.experiment == edit.experiment, runs.c.run_index.in_(members))
        .values(pack=name)
    )
    edit.progress(row, pack.committed_steps)

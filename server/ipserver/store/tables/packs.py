"""Packs, with their leases, and the attempts to train them."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.states import FailureReason, PackState
from ipserver.store.tables.columns import (
    EnumText,
    Name,
    axes,
    column,
    experiment_column,
    index,
    metadata,
)

packs = sa.Table(
    "packs",
    metadata,
    experiment_column(),
    column("id", Name),
    column("runs", sa.Integer()),
    *axes(),
    column("steps", sa.Integer()),
    column("memory_bytes", sa.BigInteger()),
    column("state", EnumText(PackState)),
    column("committed_steps", sa.Integer()),
    # The lease. Every lease is an attempt, so the token is also the number of the newest attempt.
    column("token", sa.BigInteger()),
    column("owner", Name),
    column("expires", sa.Double(), nullable=True),
    column("lease_seconds", sa.Double(), nullable=True),
    # Place of a leased pack: Ray's cluster and the node ("": it waits for a node to be added).
    column("cluster", Name, server_default=""),
    column("node", Name, server_default=""),
    # Whether it is marked to make room for a more urgent pack.
    column("leaving", sa.Boolean(), server_default=sa.false()),
    # When the unreferenced files of a DONE pack were removed.
    column("swept_time", sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint("experiment", "id"),
)
# Shared with the index below: SQLite uses a partial index only for a query with literally the same condition.
UNFINISHED_PACK = packs.c.state != sa.literal(PackState.DONE, packs.c.state.type, literal_execute=True)
index(
    "ix_packs_unfinished",
    packs.c.experiment,
    packs.c.state,
    packs.c.id,
    where=packs.c.state != PackState.DONE,
)
# Partial index: leased packs by expiry.
index("ix_packs_expiring", packs.c.expires, where=packs.c.expires.is_not(None))
index(
    "ix_packs_unswept",
    packs.c.experiment,
    packs.c.id,
    where=sa.and_(packs.c.state == PackState.DONE, packs.c.swept_time.is_(None)),
)

attempts = sa.Table(
    "attempts",
    metadata,
    experiment_column(),
    column("pack", Name),
    column("token", sa.BigInteger()),
    column("owner", Name),
    column("first_step", sa.Integer()),
    column("start_time", sa.Double()),
    column("end_time", sa.Double(), nullable=True),
    column("end_reason", EnumText(FailureReason), nullable=True),
    sa.PrimaryKeyConstraint("experiment", "pack", "token"),
)
# A pack has at most one open attempt; the database refuses a second one.
sa.Index(
    "ux_attempts_live",
    attempts.c.experiment,
    attempts.c.pack,
    unique=True,
    sqlite_where=attempts.c.end_time.is_(None),
    postgresql_where=attempts.c.end_time.is_(None),
)
# For the durations of the newest attempts.
index("ix_attempts_ended", attempts.c.end_time, where=attempts.c.end_time.is_not(None))

"""Records of the service itself: events, purged names, calls, leases, capacity."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.tables.columns import (
    Name,
    Serial,
    column,
    experiment_column,
    index,
    metadata,
)

events = sa.Table(
    "events",
    metadata,
    experiment_column(),
    column("seq", sa.BigInteger()),
    column("time", sa.Double()),
    column("kind", Name),
    column("payload", sa.JSON()),
    sa.PrimaryKeyConstraint("experiment", "seq"),
)

# Singleton leases by name. The row "placement" is never held as a lease: dispatchers lock it during a
# scheduling decision, so that they decide one at a time.
singletons = sa.Table(
    "singletons",
    metadata,
    column("name", Name, primary_key=True),
    column("owner", Name),
    column("expires", sa.Double()),
    column("seconds", sa.Double(), nullable=True),
)

# One row: the store's identity and its artifact root ("": none recorded yet).
identity = sa.Table(
    "identity",
    metadata,
    column("id", sa.Integer(), primary_key=True, autoincrement=False),
    column("uid", Name),
    column("artifact_root", Name),
)

# Calls to the API that change something or were refused.
audit = sa.Table(
    "audit",
    metadata,
    column("id", Serial, primary_key=True, autoincrement=True),
    column("time", sa.Double()),
    # Older entries may lack the result and its time.
    column("end_time", sa.Double(), nullable=True),
    column("code", Name),
    column("user", Name),
    column("method", Name),
    column("resource", Name),
    column("project", Name),
    column("peer", Name),
    column("calls", sa.BigInteger()),
)
index("ix_audit_time", audit.c.time)
index("ix_audit_project", audit.c.project, audit.c.id)

# One row: the newest report by a dispatcher.
capacity = sa.Table(
    "capacity",
    metadata,
    column("id", sa.Integer(), primary_key=True, autoincrement=False),
    column("report", sa.JSON()),
    column("time", sa.Double()),
)

# Purged resources: their ids are never reused, since MLflow and users may still refer to them. Hours of
# training in the month of the purge still count against limits.
purged = sa.Table(
    "purged",
    metadata,
    column("name", Name, primary_key=True),
    column("uid", Name),
    column("project", Name),
    column("owned_by", Name),
    column("purge_time", sa.Double()),
    # Shape of its packs, and seconds of its attempts since the first of the month of its purge.
    column("shape", Name),
    column("seconds", sa.Double()),
)

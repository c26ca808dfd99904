"""Projects, roles in them, tokens and quotas."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.tables.columns import Name, column, metadata

projects = sa.Table(
    "projects",
    metadata,
    column("id", Name, primary_key=True),
    column("create_time", sa.Double()),
)

# Roles of users in projects.
grants = sa.Table(
    "grants",
    metadata,
    column("project", Name),
    column("principal", Name),
    column("role", sa.Integer()),
    column("create_time", sa.Double()),
    sa.PrimaryKeyConstraint("project", "principal"),
)

tokens = sa.Table(
    "tokens",
    metadata,
    column("id", Name, primary_key=True),
    column("secret_sha256", Name),
    column("user", Name),
    column("note", Name),
    column("create_time", sa.Double()),
    column("expire_time", sa.Double()),
    column("last_use_time", sa.Double(), nullable=True),
    column("revoke_time", sa.Double(), nullable=True),
)

quotas = sa.Table(
    "quotas",
    metadata,
    column("project", Name),
    column("user", Name),
    column("name", Name),
    column("value", sa.Double()),
    sa.PrimaryKeyConstraint("project", "user", "name"),
)

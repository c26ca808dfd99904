"""Run by Alembic with a connection that is in a transaction already: all steps together or none."""

from __future__ import annotations

from alembic import context

from ipserver.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("tables", metadata),
)
context.run_migrations()

"""Drafts migrations: `make migration MESSAGE="Add the last training accuracy of runs"`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from alembic import command
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import Script

from ipserver.store.database import Database
from ipserver.store.schema import alembic_config, migrate, newest_revision
from ipserver.store.tables import metadata


def draft(message: str, folder: Path | None = None, tables: sa.MetaData = metadata) -> Path:
    """Write a migration from the newest revision to the tables in the code.

    The result is a draft: review it and add what existing data needs, such as values for existing rows.

    Args:
        message: What the change adds; becomes the docstring and part of the file name.
        folder: Where to write it; None: beside the other migrations.
        tables: The target tables.

    Returns:
        Path of the new file.

    Raises:
        ValueError: The migrations already lead to these tables.
    """
    config = alembic_config()
    others = Path(config.get_main_option("script_location") or "") / "versions"
    config.set_main_option("truncate_slug_length", "80")
    if folder is not None:
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", f"{others}\n{folder}".replace("%", "%%"))
    with tempfile.TemporaryDirectory() as scratch:
        dsn = f"sqlite:///{scratch}/store.db"
        migrate(dsn)
        database = Database(dsn)
        try:
            with database.engine.begin() as connection:
                config.attributes |= {"connection": connection, "tables": tables}
                written = command.revision(
                    config,
                    message,
                    autogenerate=True,
                    rev_id=f"{int(newest_revision()) + 1:04d}",
                    version_path=str(folder or others),
                    process_revision_directives=_refuse_if_empty,
                )
        finally:
            database.close()
    return Path(cast(Script, written).path)


def _refuse_if_empty(context: MigrationContext, revision: object, directives: list[MigrationScript]) -> None:
    operations = directives[0].upgrade_ops
    if operations is None or operations.is_empty():
        raise ValueError("the migrations already lead to the tables of the code")


if __name__ == "__main__":
    draft(sys.argv[1])

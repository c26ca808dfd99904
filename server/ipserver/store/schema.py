"""The schema version of the tables: migrate it and check it.

Alembic takes a tenth of a second to load, so only a migration loads it. A check, which every part of the
service makes at its start, reads Alembic's table and the names of the migrations.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from ipserver.errors import NotReady, StartupError
from ipserver.store.database import Database, Transaction
from ipserver.store.store import Store

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
# Alembic's table, of one row: the revision that the tables have.
_VERSION: Final = sa.table("alembic_version", sa.column("version_num", sa.String))
# An arbitrary number; all migrations must take the same lock.
_ADVISORY_LOCK = 7246853
# Alembic keeps its context in global variables: two threads would mix up two databases.
_one_at_a_time = threading.Lock()


def migrate(dsn: str, to: str = "head") -> None:
    """Create the tables or migrate them to the version of this code. Safe to run concurrently.

    Args:
        dsn: As for `open_store`.
        to: Revision to stop at.

    Raises:
        StartupError: The DSN is malformed, or the tables are newer than this code.
        StoreUnavailable: The database cannot be reached.
    """
    database = Database(dsn)
    try:
        with _one_at_a_time:
            database.write(_upgrade, database.shown, to)
    finally:
        database.close()


def check_schema(store: Store) -> None:
    """Check that the tables have the version of this code.

    Raises:
        NotReady: There are no tables, or older ones; `ipserver migrate` updates them.
        StartupError: They are newer than this code.
        StoreUnavailable: The database cannot be reached.
    """
    found = store.database.read(_revision)
    newest = newest_revision()
    if found == newest:
        return
    if found is None or _known(found):
        version = "has no tables yet" if found is None else f"has the older schema {found}"
        raise NotReady(f"the store {store.database.shown} {version}, not {newest}; run ipserver migrate")
    raise _newer(store.database.shown, found)


def _upgrade(transaction: Transaction, shown: str, to: str) -> None:
    connection = transaction.connection
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    found = _revision(transaction)
    if found is not None and not _known(found):
        raise _newer(shown, found)
    if found == newest_revision():
        return
    from alembic import command  # noqa: PLC0415 - see the top

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _revision(transaction: Transaction) -> str | None:
    if not sa.inspect(transaction.connection).has_table(_VERSION.name):
        return None
    return transaction.connection.execute(sa.select(_VERSION.c.version_num)).scalar_one_or_none()


def alembic_config() -> Config:
    """Alembic's configuration with the folder of the migrations."""
    from alembic.config import Config  # noqa: PLC0415 - see the top

    config = Config()
    # Escape percent signs in the folder's name, which would be interpolated.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def newest_revision() -> str:
    """The schema revision that this code needs."""
    return max(_revisions())


def _known(revision: str) -> bool:
    return revision in _revisions()


def _revisions() -> set[str]:
    """Revisions that this code knows: a migration's file is named for its own, as 0007_pause.py."""
    return {file.name.partition("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*_*.py")}


def _newer(shown: str, found: str) -> StartupError:
    return StartupError(
        f"the store {shown} has the schema {found}, which is newer than this code; update iplab"
    )

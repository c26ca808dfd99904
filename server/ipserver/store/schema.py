"""The schema version of the tables: migrate it and check it."""

from __future__ import annotations

import functools
import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ipserver.errors import NotReady, StartupError
from ipserver.store.database import Database, Transaction
from ipserver.store.store import Store

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
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _revision(transaction: Transaction) -> str | None:
    return MigrationContext.configure(transaction.connection).get_current_revision()


def alembic_config() -> Config:
    """Alembic's configuration with the folder of the migrations."""
    config = Config()
    # Escape percent signs in the folder's name, which would be interpolated.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


@functools.cache  # it does not change while a process runs, and reading all migrations takes 20 ms
def newest_revision() -> str:
    """The schema revision that this code needs."""
    return str(_scripts().get_current_head())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(alembic_config())


def _known(revision: str) -> bool:
    return revision in {script.revision for script in _scripts().walk_revisions()}


def _newer(shown: str, found: str) -> StartupError:
    return StartupError(
        f"the store {shown} has the schema {found}, which is newer than this code; update iplab"
    )

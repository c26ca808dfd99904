"""Transactions on SQLite or PostgreSQL: the only file that distinguishes the two.

SQLite has one writer at a time: a write begins with BEGIN IMMEDIATE and waits up to `LOCK_SECONDS`; the
journal is a write-ahead log that is synced at every commit. PostgreSQL runs at READ COMMITTED with row
locks. It keeps no session state beyond a transaction (no prepared statement, setting or session lock), so a
pooler such as PgBouncer may run every transaction on another connection.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from ipserver.environment.masking import without_password
from ipserver.environment.traces import span
from ipserver.errors import StartupError, StoreUnavailable
from ipserver.store.companion import companion
from ipserver.store.turns import WriteTurns

P = ParamSpec("P")
T = TypeVar("T")

LOCK_SECONDS = 30
CONNECT_SECONDS = 10
TRIES = 8
# Limits that detect a PostgreSQL that has vanished from the network: keepalive probes of an idle connection
# and the time that sent data may stay unacknowledged.
_ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
# serialization_failure, deadlock_detected
_TRANSIENT = frozenset({"40001", "40P01"})
_FORMS = "sqlite:////absolute/path/iplab.db or postgresql+psycopg://user:password@host:5432/database"

_NOW = {
    # julianday counts days from noon of 24 November 4714 BC; this is 1970-01-01.
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::float8",
}


class Transaction:
    """One transaction.

    Attributes:
        connection: Connection to execute statements on.
    """

    def __init__(self, connection: sa.Connection, clock: Callable[[], float] | None) -> None:
        self.connection = connection
        self._clock = clock
        self._now: float | None = None

    def now(self) -> float:
        """The store's time in seconds since 1970-01-01 UTC, the same throughout the transaction.

        To the microsecond, as times are shown: who filters by a time that was shown means that very time.
        Read it after locks are taken; a time read before waiting for a lock would shorten leases.
        """
        if self._now is None:
            if self._clock is not None:
                now = self._clock()
            else:
                now = self.connection.exec_driver_sql(_NOW[self.connection.dialect.name]).scalar_one()
            self._now = round(float(now), 6)
        return self._now

    def insert_many(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that have the same columns, whose values JSON can hold.

        PostgreSQL gets all rows as one JSON value, because parsing an INSERT per row is slow.
        """
        if not rows:
            return
        if self.connection.dialect.name == "sqlite":
            self.connection.execute(sa.insert(table), rows)
            return
        quote = self.connection.dialect.identifier_preparer.quote
        into, columns = quote(table.name), ", ".join(quote(name) for name in rows[0])
        self.connection.execute(
            sa.text(
                f"INSERT INTO {into} ({columns})"  # noqa: S608 (names of the schema)
                f" SELECT {columns} FROM json_populate_recordset(CAST(NULL AS {into}), :rows)"
            ),
            {"rows": _json(rows)},
        )


class Database:
    """An engine that runs functions as transactions. Thread-safe.

    Args:
        dsn: See `parse_dsn`.
        clock: Replaces the database's clock, for tests.

    Raises:
        StartupError: The DSN is malformed or SQLite's folder does not exist.
    """

    def __init__(self, dsn: str, clock: Callable[[], float] | None = None) -> None:
        url = parse_dsn(dsn)
        self.shown = without_password(url.render_as_string(hide_password=True))
        self._password = str(url.password) if url.password else ""
        self._clock = clock
        self._turns: WriteTurns | None = None
        if url.get_backend_name() == "sqlite":
            self._turns = WriteTurns(Path(url.database or ""))
            self.engine = sa.create_engine(
                url,
                pool_size=16,
                max_overflow=16,
                json_serializer=_json,
                connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False},
            )
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        else:
            # Set explicitly, so that PGOPTIONS and similar variables of other programs have no effect.
            own = {"options": " ".join(url.normalized_query.get("options", ())), "client_encoding": "utf8"}
            if url.host:
                own["hostaddr"] = ""
            self.engine = sa.create_engine(
                url,
                pool_size=16,
                max_overflow=16,
                json_serializer=_json,
                pool_pre_ping=True,
                # `_begin_postgresql` begins transactions.
                isolation_level="AUTOCOMMIT",
                connect_args={
                    "connect_timeout": CONNECT_SECONDS,
                    # Behind a pooler, the next connection may lack prepared statements.
                    "prepare_threshold": None,
                    **_ALIVE,
                    **own,
                },
            )
            sa.event.listen(self.engine, "begin", _begin_postgresql)

    def read(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a read-only transaction."""
        with span("store read", work=_name(work)):
            return self._run(False, lambda transaction: work(transaction, *args, **kwargs))

    def write(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a transaction. It may be called several times; only one call is committed.

        The rows of the caller's `Companion` are written in the same transaction.

        Raises:
            StoreUnavailable: The database is gone or busy. The transaction may have been committed.
        """
        beside = companion()
        with span("store write", work=_name(work)):
            if beside is None:
                return self._run(True, lambda transaction: work(transaction, *args, **kwargs))
            with beside.writing() as join:

                def together(transaction: Transaction) -> T:
                    result = work(transaction, *args, **kwargs)
                    join(transaction, result)
                    return result

                return self._run(True, together)

    def close(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()
        if self._turns:
            self._turns.close()

    def _run(self, writes: bool, work: Callable[[Transaction], T]) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                with (
                    (self._turns if writes else None) or nullcontext(),
                    self.engine.connect().execution_options(writes=writes) as connection,
                    connection.begin(),
                ):
                    return work(Transaction(connection, self._clock))
            except exc.DBAPIError as error:
                # Unique keys resolve races, such as two creations: the loser retries and sees the row.
                raced = isinstance(error, exc.IntegrityError) and attempt == 1
                if raced or (_sqlstate(error) in _TRANSIENT and attempt < TRIES):
                    time.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311 (no secret)
                elif _is_outage(error):
                    raise self._unavailable(error.orig) from None
                else:
                    raise
            except exc.TimeoutError as error:
                raise self._unavailable(error) from None
        raise AssertionError("unreachable")

    def _unavailable(self, error: BaseException | None) -> StoreUnavailable:
        message = " ".join(str(error).split())
        if self._password:
            message = message.replace(self._password, "***")
        return StoreUnavailable(f"the store {self.shown} cannot be used now: {message}")


def _name(work: Callable[..., object]) -> str:
    """Module and name of a transaction's function, for spans."""
    return f"{work.__module__.rpartition('.')[2]}.{work.__qualname__}"


def damage(transaction: Transaction) -> tuple[str, ...]:
    """See `Store.damage`. SQLite reads the whole file: about a second per 100 MB."""
    if transaction.connection.dialect.name != "sqlite":
        return ()
    pages = transaction.connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars()
    found = [line for line in pages if line != "ok"]
    missing = transaction.connection.exec_driver_sql("PRAGMA foreign_key_check")
    return (
        *found,
        *(f"a row of {table} refers to a missing row of {parent}" for table, _, parent, _ in missing),
    )


def parse_dsn(dsn: str) -> sa.URL:
    """The DSN as a URL.

    Args:
        dsn: "sqlite:////absolute/path/iplab.db" or "postgresql+psycopg://user:password@host:5432/database".

    Raises:
        StartupError: It is neither. The message does not show the DSN, which may hold a password.
    """
    try:
        url = sa.make_url(dsn)
    except (exc.ArgumentError, ValueError):
        raise StartupError(f"IPLAB_STORE: the DSN cannot be read; it must be {_FORMS}") from None
    if url.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise StartupError(f"IPLAB_STORE: the DSN starts with {url.drivername!r}; it must be {_FORMS}")
    if url.drivername == "sqlite":
        path = Path(url.database or "")
        if not path.is_absolute():
            raise StartupError(
                f"IPLAB_STORE: SQLite's path {url.database!r} is not absolute; the DSN must be {_FORMS}"
            )
        if not path.parent.is_dir():
            raise StartupError(f"IPLAB_STORE: SQLite's folder {path.parent} does not exist; create it first")
    return url


# Encoder of JSON columns. PostgreSQL refuses Infinity and NaN, so SQLite must too.
_json = json.JSONEncoder(allow_nan=False).encode


def _is_outage(error: exc.DBAPIError) -> bool:
    """Whether the database failed, not the statement. A file that is not a database raises DatabaseError."""
    unusable = (
        isinstance(error, exc.OperationalError | exc.InterfaceError) or type(error) is exc.DatabaseError
    )
    return unusable or error.connection_invalidated


def _sqlstate(error: exc.DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions late and never IMMEDIATE; `_begin_sqlite` begins them instead.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = WAL")


def _begin_postgresql(connection: sa.Connection) -> None:
    # The timeouts release the locks of a process that stops inside a transaction. SET LOCAL ends with the
    # transaction, and all statements are one message.
    connection.exec_driver_sql(
        f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; "
        f"SET LOCAL idle_in_transaction_session_timeout = '{LOCK_SECONDS}s'"
    )


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

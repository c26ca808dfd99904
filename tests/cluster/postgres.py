"""Temporary databases on the PostgreSQL server of `IPLAB_TEST_POSTGRES`.

A killed test cannot drop its databases; the next test does. Databases in use are recognized by a lock that
their test holds as long as it runs.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

_PREFIX = "iplab_clustertest_"
_Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Databases:
    """Two databases of one owner.

    Attributes:
        iplab: DSN of our database, as the service reads it.
        mlflow: DSN of MLflow's database.
        server: Address of the server, as "tcp:HOST:PORT" or "unix:SOCKET".
    """

    iplab: str
    mlflow: str
    server: str


@contextmanager
def databases(dsn: str, host: str) -> Iterator[Databases]:
    """Create a role and two databases; drop them at the end.

    Args:
        dsn: SQLAlchemy URL of a role that may create roles and databases.
        host: Name of the server in the returned DSNs.

    Raises:
        psycopg.Error: The server refused.
    """
    name = f"{_PREFIX}{secrets.token_hex(4)}"
    password = secrets.token_hex(16)
    admin = make_url(dsn).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        _lock(connection, name)
        _drop_abandoned(connection)
        try:
            _create(connection, name, password)
            ours = URL.create("postgresql+psycopg", name, password, host, 5432, name)
            yield Databases(
                ours.render_as_string(hide_password=False),
                ours.set(database=f"{name}_mlflow").render_as_string(hide_password=False),
                _address(connection),
            )
        finally:
            _drop(connection, name)


def _create(connection: _Connection, name: str, password: str) -> None:
    owner = sql.Identifier(name)
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(owner, sql.Literal(password)))
    for database in _databases(name):
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))


def _drop(connection: _Connection, name: str) -> None:
    for database in _databases(name):
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
    connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def _databases(name: str) -> list[sql.Identifier]:
    return [sql.Identifier(name), sql.Identifier(f"{name}_mlflow")]


def _drop_abandoned(connection: _Connection) -> None:
    pattern = _PREFIX.replace("_", r"\_") + "%"
    for (name,) in connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [pattern]
    ).fetchall():
        if _lock(connection, str(name)):
            _drop(connection, str(name))


def _lock(connection: _Connection, name: str) -> bool:
    """Take the lock of a test's databases until the connection ends; False if another connection has it."""
    row = connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [name]).fetchone()
    return row is not None and bool(row[0])


def _address(connection: _Connection) -> str:
    host, port = connection.info.host, connection.info.port
    return f"unix:{host}/.s.PGSQL.{port}" if host.startswith("/") else f"tcp:{host}:{port}"

"""Databases of its own on the PostgreSQL server of `IPLAB_TEST_POSTGRES`, gone at the end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url


@dataclass(frozen=True, slots=True)
class Databases:
    """Two databases with one owner.

    Attributes:
        iplab: DSN of ours, as the service reads it.
        mlflow: DSN of MLflow's.
        server: HOST:PORT of the server.
    """

    iplab: str
    mlflow: str
    server: str


@contextmanager
def databases(dsn: str, host: str) -> Iterator[Databases]:
    """Create a role and two databases; drop them at the end.

    Args:
        dsn: SQLAlchemy's, of a role that may create others.
        host: Name of the server in the DSNs that are made.

    Raises:
        psycopg.Error: The server refuses.
    """
    admin = make_url(dsn)
    name = f"iplab_cluster_{secrets.token_hex(4)}"
    password = secrets.token_hex(16)
    owner, mlflow = sql.Identifier(name), sql.Identifier(f"{name}_mlflow")
    with psycopg.connect(
        host=admin.host, port=admin.port, user=admin.username, password=admin.password, dbname=admin.database
    ) as connection:
        connection.autocommit = True
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(owner, sql.Literal(password)))
        try:
            for database in (owner, mlflow):
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))
            ours = URL.create("postgresql+psycopg", name, password, host, 5432, name)
            yield Databases(
                ours.render_as_string(hide_password=False),
                ours.set(database=f"{name}_mlflow").render_as_string(hide_password=False),
                f"{admin.host}:{admin.port or 5432}",
            )
        finally:
            for database in (owner, mlflow):
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
            connection.execute(sql.SQL("DROP ROLE {}").format(owner))

"""Schemas on the PostgreSQL server of IPLAB_TEST_POSTGRES: each test has its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from ipserver.errors import ServiceError
from ipserver.store import Store, check_schema, migrate, open_store
from ipserver.store.tables import metadata

POSTGRES = os.environ.get("IPLAB_TEST_POSTGRES", "")


@contextmanager
def new_schema() -> Iterator[str]:
    """DSN of a schema without tables, which is dropped at the end."""
    schema = f"iplab_{uuid.uuid4().hex[:12]}"
    _execute(sa.schema.CreateSchema(schema))
    try:
        options = {"options": f"-csearch_path={schema} -csynchronous_commit=off"}
        yield sa.make_url(POSTGRES).update_query_dict(options).render_as_string(hide_password=False)
    finally:
        _execute(sa.schema.DropSchema(schema, cascade=True))


def schemas() -> Iterator[str]:
    """DSNs of empty, migrated schemas: the last one, emptied, if its tables are unchanged; else a new one.

    Creating tables takes 20 times as long as emptying them.
    """
    while True:
        with new_schema() as dsn:
            migrate(dsn)
            with open_store(dsn) as store:  # one connection for all tests
                yield dsn
                while _emptied(store):
                    yield dsn


def _execute(statement: sa.schema.DDLElement) -> None:
    engine = sa.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.execute(statement)
    engine.dispose()


def _emptied(store: Store) -> bool:
    """Empty the tables; return whether they are those of this version and could be emptied."""
    statements = [f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)]
    # As migration 0009 does.
    statements.append("INSERT INTO singletons (name, owner, expires) VALUES ('placement', '', 0)")
    # As migration 0013 does.
    statements.append("INSERT INTO projects (id, create_time) VALUES ('default', 0)")
    try:
        check_schema(store)
        with store.database.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")  # a killed process may hold a lock
            connection.exec_driver_sql(";".join(statements))
    except (ServiceError, sa.exc.SQLAlchemyError):
        return False
    return True

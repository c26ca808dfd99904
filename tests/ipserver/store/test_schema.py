"""Migrations, and the error of a part if the tables are not those of its version."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ipserver.errors import StartupError
from ipserver.store import check_schema, migrate, open_store
from ipserver.store.database import Database
from ipserver.store.records.filters import Comparison
from ipserver.store.schema import alembic_config, newest_revision
from ipserver.store.summary import Summary
from ipserver.store.tables import metadata
from tests.ipserver.store.cases import new_experiment, new_runs


def test_migrations_make_the_tables_of_the_code(empty_dsn: str) -> None:
    migrate(empty_dsn)
    database = Database(empty_dsn)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "target_metadata": metadata}
        )
        assert compare_metadata(context, metadata) == []
        migrated = _described(connection)
        connection.rollback()
    with database.engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    with database.engine.connect() as connection:
        assert _described(connection) == migrated
    database.close()


def _described(connection: sa.Connection) -> dict[str, object]:
    """Tables, columns, keys and indices (with their conditions), from the database."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
        return {
            name: _parts(sql) for name, sql in rows if name != "alembic_version" and "sqlite_stat" not in name
        }
    inspector = sa.inspect(connection)
    indices = connection.exec_driver_sql(
        "SELECT indexname, regexp_replace(indexdef, ' ON [^.]+[.]', ' ON ') FROM pg_indexes"
        " WHERE schemaname = current_schema()"
    ).all()
    return {
        "indices": {name: text for name, text in indices if "alembic" not in name},
        "columns": {
            # Migrations add columns at the end, and nothing reads columns by position.
            table: sorted(
                (column["name"], str(column["type"]), column["nullable"])
                for column in inspector.get_columns(table)
            )
            for table in metadata.tables
        },
        "foreign keys": {table: inspector.get_foreign_keys(table) for table in metadata.tables},
    }


def _parts(sql: str) -> tuple[str, list[str], str]:
    """A definition's head, its columns and constraints in any order, and its tail."""
    found = re.fullmatch(r"(.*?)\((.*)\)(.*)", re.sub(r"\s+", " ", sql).replace('"', ""))
    assert found is not None
    head, body, tail = found.groups()
    return head, sorted(part.strip() for part in re.split(r",(?![^(]*\))", body)), tail


def test_migrations_are_in_files_of_their_revisions() -> None:
    """The check of the tables' version reads the names alone."""
    scripts = list(ScriptDirectory.from_config(alembic_config()).walk_revisions())
    assert all(Path(script.path).name.startswith(f"{script.revision}_") for script in scripts)
    assert newest_revision() == scripts[0].revision


def test_a_start_on_tables_of_this_version_does_without_alembic(dsn: str) -> None:
    """It takes a tenth of a second to load, in each part of the service."""
    code = (
        "import sys; from ipserver.store import check_schema, migrate, open_store; migrate(sys.argv[1])\n"
        "with open_store(sys.argv[1]) as store: check_schema(store)\n"
        "assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, dsn], check=True)


def test_migrating_again_changes_nothing(empty_dsn: str) -> None:
    migrate(empty_dsn)
    with open_store(empty_dsn) as store:
        record = store.create_experiment(new_experiment(), new_runs(1))
        migrate(empty_dsn)
        check_schema(store)
        assert store.get_experiment("e") == record


def test_a_store_of_the_first_version_keeps_its_runs(empty_dsn: str) -> None:
    """A database that is filled under version 0001, migrated, and used."""
    migrate(empty_dsn, to="0001")
    with open_store(empty_dsn) as store:
        with pytest.raises(StartupError, match=r"older schema 0001.*run ipserver migrate"):
            check_schema(store)
        with store.database.engine.begin() as connection:
            old = sa.MetaData()
            old.reflect(connection)
            experiment = {column.name: _some(column) for column in old.tables["experiments"].c}
            connection.execute(sa.insert(old.tables["experiments"]).values(experiment | {"id": "e"}))
            run = {column.name: _some(column) for column in old.tables["runs"].c}
            run |= {"experiment": "e", "run_index": 0, "final_test_accuracy": 0.75}
            connection.execute(sa.insert(old.tables["runs"]).values(run))
        migrate(empty_dsn)
        check_schema(store)
        assert store.get_experiment("e").priority == 1
        assert store.get_run("e", 0).summary == Summary(final_test_accuracy=0.75)
        assert store.run_indices("e", Comparison("best_validation_loss", ">", 0)) == set()


def _some(column: sa.Column[Any]) -> object:
    """A value for a column of any version: NULL if allowed, else the simplest value that records can read."""
    if column.nullable:
        return None
    if column.name == "state":
        return "SUCCEEDED"
    if column.name in {"labels", "warnings", "calibrated_rates"}:
        return {} if column.name == "labels" else []
    return {bool: True, bytes: b"", str: "", float: 1.0}.get(column.type.python_type, 1)


def test_processes_may_migrate_at_the_same_time(empty_dsn: str) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=migrate, args=(empty_dsn,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    with open_store(empty_dsn) as store:
        check_schema(store)


def test_threads_may_migrate_different_stores_at_the_same_time(tmp_path: Path) -> None:
    stores = [f"sqlite:///{tmp_path}/{number}.db" for number in range(4)]
    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(migrate, stores))
    for dsn in stores:
        check_schema(open_store(dsn))


def test_missing_tables_are_reported(empty_dsn: str) -> None:
    with (
        open_store(empty_dsn) as store,
        pytest.raises(StartupError, match=r"no tables yet.*run ipserver migrate"),
    ):
        check_schema(store)


def test_newer_tables_are_reported_and_left_alone(dsn: str) -> None:
    with open_store(dsn) as store:
        with store.database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(StartupError, match="schema 9999, which is newer than this code; update iplab"):
            check_schema(store)
        with pytest.raises(StartupError, match="9999"):
            migrate(dsn)

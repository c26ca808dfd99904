"""MLflow's database with a write-ahead log: fast, readable during writes, and durable before marks."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from ipserver.forward.sqlite_file import SqliteFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mlflow.db"


@pytest.fixture
def file(path):
    return SqliteFile(path)


@pytest.fixture
def engine(file, path):
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
    yield engine
    engine.dispose()


def pragmas(engine):
    with engine.connect() as connection:
        names = ("journal_mode", "synchronous")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]


def test_its_connections_write_ahead_and_others_are_left_alone(engine, tmp_path):
    assert pragmas(engine) == ["wal", 1]
    assert pragmas(sa.create_engine(f"sqlite:///{tmp_path}/other.db")) == ["delete", 2]


def test_a_reader_keeps_nobody_from_writing(engine, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM t").fetchall()
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        reader.execute("COMMIT")


def test_somebody_who_uses_it_in_the_old_mode_is_waited_for(file, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM t").fetchall()
        busy = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0}, poolclass=sa.NullPool)
        assert pragmas(busy) == ["delete", 2]  # safe, if slow
        other.execute("COMMIT")
        assert pragmas(busy) == ["wal", 1]


def test_sync_flushes_the_log_that_holds_the_commits(engine, file, path, monkeypatch):
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: flushed.append(str(Path(f"/proc/self/fd/{fd}").readlink())) or fsync(fd)
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")

    file.sync()

    assert flushed == [f"{path}-wal"]
    engine.dispose()  # the last connection merges the log into the database
    file.sync()
    assert flushed == [f"{path}-wal"]


def test_what_was_written_to_a_file_that_was_replaced_is_not_durable(engine, file, path):
    path.rename(path.with_suffix(".away"))
    with pytest.raises(OSError, match=r"mlflow\.db is not the file that was written"):
        file.sync()

    # A pooled connection to the old file is closed; the next one creates a new file.
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT name FROM sqlite_master").all() == []
    file.sync()


def test_without_a_connection_there_is_nothing_to_flush(file):
    file.sync()

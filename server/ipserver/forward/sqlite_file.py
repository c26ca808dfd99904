"""Fast and durable writes to our MLflow database if it is a SQLite file.

MLflow commits four times for each run. In SQLite's default mode every commit flushes the disk several times
and locks out all readers. With a write-ahead log and `synchronous = NORMAL` a commit does not flush and does
not block readers, but a power failure may lose the newest commits. Code that relies on commits calls `sync`
first, which flushes the log: it holds all commits that are not in the database file yet.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

_FILES: dict[str, SqliteFile] = {}
_KEY = "ipserver.forward.sqlite_file"


class SqliteFile:
    """A SQLite database that SQLAlchemy engines of this process, including MLflow's, open for writing.

    Args:
        path: The file; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.path.realpath(path)
        self._opened: tuple[int, int] | None = None
        _FILES[self._path] = self

    def sync(self) -> None:
        """Wait until all commits are on the disk.

        Raises:
            OSError: The flush failed, or the file that was written is no longer there.
        """
        if self._opened is None:
            return  # connections without this setup flush every commit
        if self.identity() != self._opened:
            raise FileNotFoundError(
                f"{self._path} is not the file that was written; it was moved or replaced"
            )
        try:
            log = os.open(f"{self._path}-wal", os.O_RDONLY)
        except FileNotFoundError:
            return  # SQLite has moved all commits into the database file and flushed it
        try:
            os.fsync(log)
        finally:
            os.close(log)

    def prepare(self, connection: sqlite3.Connection) -> tuple[int, int] | None:
        """Set up a new connection; return the file's identity."""
        self._opened = self.identity()
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError:
                return (
                    self._opened
                )  # a reader is active: keep the current mode; the next connection tries again
        if mode == "wal":
            connection.execute("PRAGMA synchronous = NORMAL")
        return self._opened

    def identity(self) -> tuple[int, int] | None:
        """Identity (device, inode) of the file at the path; None if there is none."""
        try:
            found = Path(self._path).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


@sa.event.listens_for(sa.Engine, "connect")
def _connected(connection: Any, record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        _, _, path = connection.execute("PRAGMA database_list").fetchone()
        if (file := _FILES.get(path)) is not None:
            record.info[_KEY] = file, file.prepare(connection)


@sa.event.listens_for(sa.Engine, "checkout")
def _checked_out(_connection: Any, record: Any, _proxy: Any) -> None:
    """Disconnect if the file was moved or replaced, which SQLite does not notice with a write-ahead log."""
    if _KEY in record.info:
        file, identity = record.info[_KEY]
        if file.identity() != identity:
            raise sa.exc.DisconnectionError("the file was moved or replaced")

"""How MLflow's database of ours is written where it is a file of SQLite: quickly, and yet durably.

MLflow commits four times for each run. In SQLite's default mode every commit flushes the disk several times
and shuts out all readers. With a write-ahead log and `synchronous = NORMAL` a commit flushes nothing and
readers go on, but a power failure may lose the newest commits. So whoever relies on them calls `sync` first:
the log holds all commits that are not in the database yet.
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
    """A database that SQLAlchemy's engines of this process open for writing, MLflow's among them.

    Args:
        path: The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.path.realpath(path)
        self._opened: tuple[int, int] | None = None
        _FILES[self._path] = self

    def sync(self) -> None:
        """Return once all commits are on the disk.

        Raises:
            OSError: The disk does not say so, or the file that they went to is no longer there.
        """
        if self._opened is None:
            return  # connections that were not set up here flush every commit
        if self.identity() != self._opened:
            raise FileNotFoundError(
                f"{self._path} is not the file that was written; it was moved or replaced"
            )
        try:
            log = os.open(f"{self._path}-wal", os.O_RDONLY)
        except FileNotFoundError:
            return  # SQLite has brought all of it into the database and flushed that
        try:
            os.fsync(log)
        finally:
            os.close(log)

    def prepare(self, connection: sqlite3.Connection) -> tuple[int, int] | None:
        """Set a new connection up; returns the file's identity."""
        self._opened = self.identity()
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError:
                return (
                    self._opened
                )  # somebody reads; it goes on as before, and the next connection tries again
        if mode == "wal":
            connection.execute("PRAGMA synchronous = NORMAL")
        return self._opened

    def identity(self) -> tuple[int, int] | None:
        """Which file lies there; None: none."""
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
    """A log hides from SQLite that the file was moved: look oneself, lest one writes into a deleted one."""
    if _KEY in record.info:
        file, identity = record.info[_KEY]
        if file.identity() != identity:
            raise sa.exc.DisconnectionError("the file was moved or replaced")

"""First creation of MLflow's database: atomic, and by one forwarder at a time.

MLflow creates a new SQLite file in dozens of steps and cannot use a file left unfinished by an interruption.
So the forwarder creates the file under a temporary name and renames it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from ipserver.errors import NotReady

_log = logging.getLogger(__name__)
# An arbitrary number; all forwarders must take the same lock.
_ADVISORY_LOCK: Final = 7246854
_BUSY_SECONDS: Final = 30


def sqlite_path(uri: str) -> Path | None:
    """The file of a "sqlite:///..." URI; None for other databases and in-memory databases.

    >>> sqlite_path("sqlite:////home/lab/mlflow.db")
    PosixPath('/home/lab/mlflow.db')
    """
    if not uri.startswith("sqlite"):
        return None
    name = sa.make_url(uri).database
    return Path(name).absolute() if name and name != ":memory:" else None


@contextmanager
def taking_turns(uri: str) -> Iterator[None]:
    """Exclude other forwarders that create or change the database's tables, inside the context."""
    if path := sqlite_path(uri):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    elif uri.startswith("postgresql"):
        engine = sa.create_engine(uri)
        try:
            with engine.begin() as connection:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
                yield
        finally:
            engine.dispose()
    else:
        yield


def make(path: Path, build: Callable[[str], None], *, ours: bool) -> None:
    """Create a SQLite file with MLflow's tables, if there is none. Call it inside `taking_turns`.

    Args:
        path: Path of the file.
        build: Creates a new database at a URI.
        ours: Whether it is in our home folder. If so, an unfinished file is renamed to NAME.unfinished.

    Raises:
        NotReady: There is an unfinished file, and it is not ours.
    """
    if path.exists() and path.stat().st_size:
        try:
            require_finished(path)
        except NotReady as error:
            if not ours:
                raise
            _log.warning("%s; it is set aside", error)
            path.replace(path.with_name(f"{path.name}.unfinished"))
        else:
            return
    beside = path.with_name(f".{path.name}.new")
    for left in path.parent.glob(f"{beside.name}*"):  # and its journal
        left.unlink()
    _log.info("making MLflow's database %s", path)
    build(sa.URL.create("sqlite", database=str(beside)).render_as_string())
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def require_finished(path: Path) -> None:
    """Check that the creation of the tables in a SQLite file was completed.

    MLflow's last step creates the experiment "Default". A file without experiments holds no runs either.

    Raises:
        NotReady: The creation was interrupted. The message says what to do.
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as connection:
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        if "experiments" in tables and connection.execute("SELECT 1 FROM experiments LIMIT 1").fetchone():
            return
    raise NotReady(
        f"{path} holds no experiment, not even MLflow's own: its creation was interrupted, or it is not a "
        f"database of MLflow's. If it is one, `rm {path}`: it holds no runs and is created again"
    )

"""The store's interface to the other parts of the service."""

from __future__ import annotations

from collections.abc import Callable

from ipserver.store.database import Database
from ipserver.store.interface.auditing import Auditing
from ipserver.store.interface.deleting import Deleting
from ipserver.store.interface.experiments import Experiments
from ipserver.store.interface.forwarding import Forwarding
from ipserver.store.interface.operating import Operating
from ipserver.store.interface.planning import Planning
from ipserver.store.interface.runs import Runs
from ipserver.store.interface.studies import Studies
from ipserver.store.interface.training import Training


def open_store(dsn: str, *, clock: Callable[[], float] | None = None) -> Store:
    """Open the store on the database at `dsn`. It connects on first use.

    Args:
        dsn: "sqlite:////absolute/path/iplab.db" or "postgresql+psycopg://user:password@host:5432/database".
        clock: Returns seconds since 1970-01-01 UTC; replaces the database's clock in tests.

    Raises:
        StartupError: The DSN is malformed, or SQLite's folder does not exist.

    >>> import tempfile
    >>> from ipserver.store import migrate
    >>> dsn = f"sqlite:///{tempfile.mkdtemp()}/iplab.db"
    >>> migrate(dsn)
    >>> with open_store(dsn) as store:
    ...     store.list_experiments(limit=10)
    []
    """
    return Store(Database(dsn, clock))


class Store(Experiments, Runs, Studies, Deleting, Planning, Training, Forwarding, Operating, Auditing):
    """Experiments, runs, packs, leases, events and metric segments.

    Thread-safe. Every method is one transaction, durable when it returns (`segments` reads in several). Any
    method may raise `StoreUnavailable`; a write may then have been committed or not. Methods documented as
    repeatable can be called again.
    """

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

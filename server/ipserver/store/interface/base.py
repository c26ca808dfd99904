"""Base class of the store's methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from ipserver import failpoints
from ipserver.store.database import Database, Transaction
from ipserver.store.interface.accounts import Accounts

P = ParamSpec("P")
T = TypeVar("T")


class Transactions:
    """Access to the database. Thread-safe.

    Attributes:
        database: The underlying database.
        accounts: Projects, roles, tokens and limits.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.accounts = Accounts(database)

    def _watched(
        self, point: str, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a write with failpoints before, during and after its transaction."""
        with failpoints.around(point):
            return self.database.write(failpoints.then(work, f"{point}.during"), *args, **kwargs)

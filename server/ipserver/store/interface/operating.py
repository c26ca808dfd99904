"""Methods for operators: the store's identity, the files it refers to, its clock, queue and damage."""

from __future__ import annotations

from ipserver.store.database import Transaction, damage
from ipserver.store.interface.base import Transactions
from ipserver.store.records.backlog import Queue, Unsent
from ipserver.store.records.files import Identity, NamedFile
from ipserver.store.transactions import backlog, clocks, files, identity


class Operating(Transactions):
    """Methods for operators: the store's identity, the files it refers to, its clock, queue and damage."""

    def identity(self) -> Identity:
        """The store's identity."""
        return self.database.write(identity.get)

    def claim_artifacts(self, artifact_root: str) -> Identity:
        """Record the artifact root. The first recorded root is kept. Repeatable.

        Args:
            artifact_root: URL of the artifact root, never empty.

        Returns:
            The recorded identity; its root differs from the argument if another root was recorded first.
        """
        return self.database.write(identity.claim, artifact_root)

    def named_files(self) -> list[NamedFile]:
        """All files that the store refers to: checkpoints, oldest first, and artifacts."""
        return self.database.read(files.named)

    def now(self) -> float:
        """Time of the store's clock, which decides about leases, in seconds since 1970-01-01 UTC."""
        return self.database.read(Transaction.now)

    def newest_time(self) -> float | None:
        """The latest time in the store; a time ahead of `now` was written by a wrong clock."""
        return self.database.read(clocks.newest)

    def queue(self) -> Queue:
        """Waiting and training work of all dispatchers."""
        return self.database.read(backlog.queue)

    def unsent(self) -> Unsent:
        """Amount and age of data that MLflow does not hold yet."""
        return self.database.read(backlog.unsent)

    def prove_writable(self) -> None:
        """Commit a write that changes nothing."""
        self.database.write(identity.rewrite)

    def damage(self) -> tuple[str, ...]:
        """Defects of the database's pages, indexes and references; always empty on PostgreSQL."""
        return self.database.read(damage)

"""All files that the store refers to."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.files import NamedFile
from ipserver.store.tables import artifacts, checkpoints


def named(transaction: Transaction) -> list[NamedFile]:
    """See `Store.named_files`."""
    newest = sa.select(checkpoints.c.path, checkpoints.c.sha256).order_by(checkpoints.c.id)
    files = sa.select(artifacts.c.location, artifacts.c.sha256)
    files = files.order_by(artifacts.c.experiment, artifacts.c.run_index, artifacts.c.path)
    connection = transaction.connection
    return [
        *(NamedFile(location, sha256, checkpoint=True) for location, sha256 in connection.execute(newest)),
        *(NamedFile(location, sha256, checkpoint=False) for location, sha256 in connection.execute(files)),
    ]

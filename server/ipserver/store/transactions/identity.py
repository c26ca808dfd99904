"""The store's identity, and the root of the artifacts that it refers to."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.files import Identity
from ipserver.store.tables import identity


def get(transaction: Transaction) -> Identity:
    """See `Store.identity`."""
    row = transaction.connection.execute(sa.select(identity)).one_or_none()
    if row is not None:
        return Identity(row.uid, row.artifact_root)
    new = Identity(uuid.uuid4().hex, "")
    transaction.connection.execute(sa.insert(identity).values(id=1, uid=new.uid, artifact_root=""))
    return new


def rewrite(transaction: Transaction) -> None:
    """See `Store.prove_writable`."""
    uid = get(transaction).uid
    transaction.connection.execute(sa.update(identity).values(uid=uid))


def claim(transaction: Transaction, artifact_root: str) -> Identity:
    """See `Store.claim_artifacts`."""
    get(transaction)
    unclaimed = sa.update(identity).where(identity.c.artifact_root == "")
    transaction.connection.execute(unclaimed.values(artifact_root=artifact_root))
    return get(transaction)

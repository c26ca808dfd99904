"""What the dispatchers' cluster offers, as last reported."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records import CapacityReport, DatasetReport
from ipserver.store.tables import capacity


def save(transaction: Transaction, report: CapacityReport) -> None:
    """See `Store.save_capacity`."""
    values = {
        "report": {
            "resources": dict(report.resources),
            "datasets": [[dataset.name, dataset.problem] for dataset in report.datasets],
        },
        "time": transaction.now(),
    }
    updated = transaction.connection.execute(sa.update(capacity).values(values))
    if updated.rowcount == 0:
        transaction.connection.execute(sa.insert(capacity).values(id=1, **values))


def load(transaction: Transaction) -> CapacityReport | None:
    """See `Store.capacity`."""
    row = transaction.connection.execute(sa.select(capacity)).one_or_none()
    if row is None:
        return None
    return CapacityReport(
        resources=row.report["resources"],
        datasets=tuple(DatasetReport(name, problem) for name, problem in row.report["datasets"]),
        time=row.time,
    )

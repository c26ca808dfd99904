"""Resources and datasets of the dispatchers' cluster, as last reported."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from ipcore.catalogue import DatasetInfo
from ipserver.store.database import Transaction
from ipserver.store.records import CapacityReport, DatasetReport
from ipserver.store.tables import capacity


def save(transaction: Transaction, report: CapacityReport) -> None:
    """See `Store.save_capacity`."""
    values = {
        "report": {
            "resources": dict(report.resources),
            "datasets": [
                [dataset.name, dataset.problem, asdict(dataset.info) if dataset.info else None]
                for dataset in report.datasets
            ],
            "data": report.data,
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
        datasets=tuple(_dataset(*entry) for entry in row.report["datasets"]),
        time=row.time,
        data=row.report.get("data", ""),  # older versions do not say
    )


def _dataset(name: str, problem: str, info: dict[str, Any] | None = None) -> DatasetReport:
    """One report; reports of older versions have no `info`."""
    return DatasetReport(name, problem, DatasetInfo(**info) if info else None)

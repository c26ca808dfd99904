"""Resources and datasets of the dispatchers' cluster, as last reported."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from ipcore.catalogue import DatasetInfo
from ipcore.planning.machine import MachineProfile
from ipserver.store.database import Transaction
from ipserver.store.records.cluster import CapacityReport, DatasetReport, PlannerReport
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
            "planner": asdict(report.planner) if report.planner else None,
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
        data=row.report.get("data", ""),  # older versions say neither
        planner=_planner(row.report.get("planner")),
    )


def _planner(plain: dict[str, Any] | None) -> PlannerReport | None:
    if plain is None:
        return None
    profile = MachineProfile(**plain["profile"]) if plain["profile"] else None
    return PlannerReport(plain["max_pack_runs"], plain["max_pack_memory_bytes"], profile)


def _dataset(name: str, problem: str, info: dict[str, Any] | None = None) -> DatasetReport:
    """One report; reports of older versions have no `info`."""
    return DatasetReport(name, problem, DatasetInfo(**info) if info else None)

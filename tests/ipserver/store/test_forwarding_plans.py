"""Data to send are found by index, with a constant number of statements for any number of runs."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from ipserver.store import Store, migrate, open_store
from tests.ipserver.store.cases import new_experiment, new_runs


def cancelled(store: Store, first: int, last: int, runs: int = 2) -> None:
    for number in range(first, last):
        store.create_experiment(new_experiment(f"e{number:05d}"), new_runs(runs))
        store.cancel_experiment(f"e{number:05d}")


def test_a_backlog_makes_no_statement_more_and_no_scan(tmp_path: Any) -> None:
    dsn = f"sqlite:///{tmp_path}/iplab.db"
    migrate(dsn)
    with open_store(dsn) as store:
        cancelled(store, 0, 30)
        executed: list[str] = []
        plans: dict[str, str] = {}

        def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if re.match("SELECT|WITH", statement):
                executed.append(statement)
                rows = connection.connection.driver_connection.execute(
                    f"EXPLAIN QUERY PLAN {statement}", parameters
                )
                plans[statement] = " | ".join(row[3] for row in rows)

        sa.event.listen(store.database.engine, "before_cursor_execute", explain)
        assert len(store.forward_tasks(50)) == 50
        few = len(executed)
        for statement, plan in plans.items():
            assert not re.search("SCAN (runs|experiments|attempts|artifacts)", plan), (statement, plan)
        assert sum("USING COVERING INDEX ix_runs_due (experiment>?)" in plan for plan in plans.values()) == 1
        assert sum("USING INDEX ix_runs_due (experiment=?" in plan for plan in plans.values()) == 1
        sa.event.remove(store.database.engine, "before_cursor_execute", explain)

        cancelled(store, 30, 150)
        cancelled(store, 150, 151, runs=3000)
        executed.clear()
        sa.event.listen(store.database.engine, "before_cursor_execute", explain)
        assert len(store.forward_tasks(50)) == 50
        assert len(executed) == few
        executed.clear()
        assert len(store.forward_tasks(50, after="e00149")) == 50
        assert len(executed) <= few

"""Addresses, outages, durability."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from ipcore.planning.machine import MachineProfile
from ipserver.errors import StartupError, StoreUnavailable
from ipserver.store import Store, check_schema, migrate, open_store
from ipserver.store.database import Transaction
from ipserver.store.records.cluster import CapacityReport, PlannerReport
from ipserver.store.tables.records import events
from tests.ipserver.store.cases import new_experiment, new_runs
from tests.ports import free_port

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("", "cannot be read"),
        ("not a dsn", "cannot be read"),
        ("mysql://u:s3cret@h/db", "starts with 'mysql'"),
        ("postgresql://u:s3cret@h/db", "must be sqlite:////absolute"),
        ("postgresql+psycopg://u:s3cret@h:port/db", "cannot be read"),
        ("sqlite:///relative.db", "'relative.db' is not absolute"),
        ("sqlite://", "not absolute"),
        ("sqlite:////no/such/folder/iplab.db", "/no/such/folder does not exist"),
    ],
)
def test_malformed_addresses_are_refused_without_showing_passwords(dsn: str, message: str) -> None:
    for use in (open_store, migrate):
        with pytest.raises(StartupError, match=re.escape(message)) as caught:
            use(dsn)
        assert "s3cret" not in str(caught.value)


def test_an_absent_server_is_an_outage_and_the_password_stays_hidden() -> None:
    port = free_port()
    store = open_store(f"postgresql+psycopg://u:s3cret@127.0.0.1:{port}/db?sslpassword=s3cret")
    for use in (store.idle, lambda: check_schema(store), lambda: store.cancel_experiment("e")):
        with pytest.raises(StoreUnavailable, match=r"u:\*\*\*@127.0.0.1") as caught:
            use()
        assert "s3cret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_file_that_is_no_database_is_an_outage(tmp_path: Path) -> None:
    path = tmp_path / "iplab.db"
    path.write_bytes(b"something else " * 1000)
    with open_store(f"sqlite:///{path}") as store, pytest.raises(StoreUnavailable, match="not a database"):
        store.idle()


def test_times_are_those_that_are_shown(store: Store) -> None:
    """To the microsecond; SQLite's clock alone gives numbers beside it, such as 7.122999907 for 7.123."""
    with store.database.engine.connect() as connection:
        assert Transaction(connection, lambda: 7.1229999065).now() == 7.123
        now = Transaction(connection, None).now()
    assert now == round(now, 6)


def test_what_is_no_json_is_refused_on_every_database(store: Store) -> None:
    """PostgreSQL knows no Infinity: what SQLite took would end a dispatcher elsewhere."""
    for number in (math.inf, math.nan):
        profile = MachineProfile(1e-5, 1e9, 1 << 20, number)
        with pytest.raises((sa.exc.StatementError, ValueError), match="JSON"):
            store.save_capacity(CapacityReport({}, (), planner=PlannerReport(1, 1, profile)))
    unmeasured = MachineProfile(1e-5, 1e9, 1 << 20, None)
    store.save_capacity(CapacityReport({}, (), planner=PlannerReport(1, 1, unmeasured)))
    seen = store.capacity()
    assert seen is not None and seen.planner is not None and seen.planner.profile == unmeasured


def test_a_lost_connection_is_replaced(dsn: str) -> None:
    if dsn.startswith("sqlite"):
        pytest.skip("SQLite has no connections to lose")
    with open_store(dsn) as store, open_store(dsn) as other:
        with store.database.engine.connect() as connection:
            process = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with other.database.engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({process})")
        store.create_experiment(new_experiment(), new_runs(1))


def test_sqlite_is_set_up_for_durability(tmp_path: Path) -> None:
    dsn = f"sqlite:///{tmp_path}/iplab.db"
    migrate(dsn)
    with open_store(dsn) as store, store.database.engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


WRITER = """
import sys
from ipserver.store import open_store
from tests.ipserver.store.cases import a_slice, lease, new_experiment, new_runs, planned
store = open_store(sys.argv[1])
planned(store, [range(20)], "e", steps=100_000)
pack = lease(store)
for step in range(1, 11):
    store.commit_slice("e", pack.id, pack.token, a_slice(step, step))
    print(f"step {step}", flush=True)
for n in range(100_000):
    store.create_experiment(new_experiment(f"e{n}"), new_runs(200))
    print(f"created {n}", flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(dsn: str) -> None:
    """After the writer dies in a transaction, every acknowledged write is there, and none is incomplete."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, dsn],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
    )
    assert writer.stdout is not None
    lines = []
    for line in writer.stdout:
        lines.append(line.strip())
        if line.strip() == "created 5":
            break
    time.sleep(0.02)
    writer.send_signal(signal.SIGKILL)
    lines += writer.stdout.read().split("\n")[:-1]
    writer.wait()
    writer.stdout.close()

    acknowledged = [line.split()[1] for line in lines if re.fullmatch(r"created \d+", line)]
    with open_store(dsn) as store:
        check_schema(store)
        assert len(acknowledged) >= 6
        assert store.get_run("e", 0).committed_steps == 10
        assert len(list(store.segments("e", packs=None, first_step=0, last_step=None))) == 10
        for n in acknowledged:
            assert len(store.list_runs(f"e{n}", limit=1000)) == 200
        for record in store.list_experiments(limit=1000):
            runs = store.list_runs(record.id, limit=1000)
            assert len(runs) == sum(record.counts.values())
            events = store.events(record.id, after=0, limit=1000)
            assert [event.sequence for event in events] == list(range(1, record.sequence + 1))
        assert store.cancel_experiment("e").counts  # And it can still be written.


def test_many_rows_keep_every_kind_of_value(store: Store) -> None:
    payload = {
        "text": "ü\u2028'\"\\ %s :x",
        "many": [0.1, 1e-308, -1.5e300, 2**53 + 1, None, True],
        "none": None,
    }
    store.create_experiment(new_experiment(), new_runs(1))
    rows = [{"experiment": "e", "seq": n, "time": 1 / 3, "kind": "k", "payload": payload} for n in (7, 8)]

    store.database.write(lambda transaction: transaction.insert_many(events, rows))

    def stored(transaction: Transaction) -> list[dict[str, object]]:
        found = transaction.connection.execute(sa.select(events).where(events.c.kind == "k").order_by("seq"))
        return [dict(row) for row in found.mappings()]

    assert store.database.read(stored) == rows
    store.database.write(lambda transaction: transaction.insert_many(events, []))

"""The store behind PgBouncer: transactions of many callers share few connections, in any order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipserver.errors import StartupError, StoreUnavailable
from ipserver.ops.doctor import Level, examine
from ipserver.ops.startup import explained
from ipserver.store import check_schema, migrate, open_store
from ipserver.store.database import Transaction
from tests.ipserver.store.cases import TTL, a_slice, new_experiment, new_runs, planned
from tests.ipserver.store.conftest import POSTGRES
from tests.ipserver.store.pooler import PGBOUNCER, own_database, pooling
from tests.ipserver.support import settings_in

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not POSTGRES, reason="IPLAB_TEST_POSTGRES is not set"),
    pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer (Debian: apt-get install pgbouncer)"),
]
CALLERS, SLICES = 32, 4


@pytest.fixture
def database() -> Iterator[str]:
    with own_database(POSTGRES) as name:
        yield name


def backend(transaction: Transaction) -> tuple[int, str, str]:
    """The process on the server, and its time limits."""
    row = transaction.connection.exec_driver_sql(
        "SELECT pg_backend_pid(), current_setting('lock_timeout'), "
        "current_setting('idle_in_transaction_session_timeout')"
    ).one()
    return row[0], row[1], row[2]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_many_callers_meet_no_error(mode: str, database: str, tmp_path: Path) -> None:
    size = 4 if mode == "transaction" else CALLERS  # a session keeps its connection
    with pooling(tmp_path, POSTGRES, mode, size) as url:
        dsn = url.set(database=database).render_as_string(hide_password=False)
        migrate(dsn)
        migrate(dsn)  # nothing to do
        problems: list[BaseException] = []
        backends: set[int] = set()
        with open_store(dsn) as store:
            check_schema(store)
            for number in range(CALLERS):
                planned(store, [range(2)], f"e{number}", steps=100)

            def call(number: int) -> None:
                name = f"e{number}"
                try:
                    pack = store.lease_pack(name, f"owner-{number}", TTL)
                    assert pack is not None
                    for step in range(1, SLICES + 1):
                        store.commit_slice(name, pack.id, pack.token, a_slice(step, step))
                        held = {(name, pack.id, pack.token)}
                        assert store.renew(held, TTL) == held
                        assert len(store.list_runs(name, limit=10)) == 2
                        assert store.get_run(name, 0).committed_steps == step
                        store.create_experiment(new_experiment(f"{name}-{step}"), new_runs(2))
                        assert store.acquire_lease(f"lease-{number}", "me", TTL)
                        process, *limits = store.database.read(backend)
                        backends.add(process)
                        assert limits == ["30s", "30s"]
                except BaseException as error:
                    problems.append(error)

            threads = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert problems == []
            assert len(store.list_experiments(limit=1000)) == CALLERS * (SLICES + 1)
        if mode == "transaction":
            assert 1 < len(backends) <= size, "callers shared the connections"


def test_connections_that_the_pooler_cuts_are_replaced(database: str, tmp_path: Path) -> None:
    direct = POSTGRES
    with pooling(tmp_path, direct, "transaction", more="server_lifetime = 1\nserver_idle_timeout = 1") as url:
        dsn = url.set(database=database).render_as_string(hide_password=False)
        migrate(dsn)
        with open_store(dsn) as store, open_store(direct) as other:
            store.create_experiment(new_experiment("a"), new_runs(1))
            process, *_ = store.database.read(backend)
            with other.database.engine.connect() as connection:
                connection.exec_driver_sql(f"SELECT pg_terminate_backend({process})")
            store.create_experiment(new_experiment("b"), new_runs(1))
            assert len(store.list_experiments(limit=10)) == 2


def test_a_pooler_that_knows_no_transactions_is_refused(database: str, tmp_path: Path) -> None:
    with pooling(tmp_path, POSTGRES, "statement") as url:
        dsn = url.set(database=database).render_as_string(hide_password=False)
        with pytest.raises(StartupError, match=r"IPLAB_STORE: .*statement pooling.*pool_mode = transaction"):
            explained(lambda: migrate(dsn))
        settings = settings_in(tmp_path, store=dsn)
        found = {finding.check: finding for finding in examine(settings)}
    assert found["store"].level is Level.WRONG
    assert "pool_mode = transaction" in found["store"].text


def test_a_dsn_with_options_says_what_the_pooler_does_not_take(database: str, tmp_path: Path) -> None:
    with pooling(tmp_path, POSTGRES, "transaction") as url:
        dsn = url.set(database=database, query={"options": "-csearch_path=other"})
        shown = dsn.render_as_string(hide_password=False)
        with pytest.raises(StartupError, match=r"unsupported startup parameter.*leave `options` out"):
            explained(lambda: migrate(shown))


def test_a_pooler_whose_server_is_gone_is_an_outage(tmp_path: Path) -> None:
    nowhere = POSTGRES.replace("5432", "1")
    more = "query_wait_timeout = 1\nserver_connect_timeout = 1\nserver_login_retry = 1"
    with pooling(tmp_path, nowhere, "transaction", more=more) as url:
        dsn = url.set(database="iplab").render_as_string(hide_password=False)
        with open_store(dsn) as store, pytest.raises(StoreUnavailable):
            store.idle()

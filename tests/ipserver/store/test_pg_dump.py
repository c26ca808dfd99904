"""A PostgreSQL database is dumped while it is used, and restored into another one (docs/operations.md)."""

import os
import shutil
import subprocess
import uuid

import pytest
import sqlalchemy as sa

from ipserver.store import check_schema, migrate, open_store
from tests.ipserver.store.cases import a_slice, last_slice, lease, planned, told

POSTGRES = os.environ.get("IPLAB_TEST_POSTGRES", "")

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not POSTGRES, reason="IPLAB_TEST_POSTGRES is not set"),
    pytest.mark.skipif(not shutil.which("pg_dump"), reason="there is no pg_dump"),
]


@pytest.fixture
def databases():
    """Two new databases: their DSNs, and their addresses for PostgreSQL's programs."""
    url = sa.make_url(POSTGRES)
    names = [f"iplab_dump_{uuid.uuid4().hex[:12]}" for _ in range(2)]
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for name in names:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        urls = [url.set(database=name) for name in names]
        yield (
            [url.render_as_string(hide_password=False) for url in urls],
            [url.set(drivername="postgresql").render_as_string(hide_password=False) for url in urls],
        )
        for name in names:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


def test_a_dump_restored_elsewhere_goes_on(databases, tmp_path):
    (first, second), (source, target) = databases
    migrate(first)
    with open_store(first) as store:
        planned(store, [[0], [1]])
        done, going = lease(store), lease(store)
        store.commit_slice("e", done.id, done.token, last_slice(done))
        store.commit_slice("e", going.id, going.token, a_slice(1, 5))
        file = str(tmp_path / "iplab.dump")
        subprocess.run(["pg_dump", "--format=custom", f"--file={file}", source], check=True, timeout=120)
        store.commit_slice("e", going.id, going.token, a_slice(6, 7))  # after the dump: not in it
        events = told(store)
    restore = ["pg_restore", "--no-owner", "--exit-on-error", f"--dbname={target}", file]
    subprocess.run(restore, check=True, timeout=120)

    with open_store(second) as store:
        check_schema(store)
        assert [run.committed_steps for run in store.list_runs("e", limit=10)] == [10, 5]
        assert told(store) == events[:-1]
        # The dead dispatcher's lease and token are still current, so its slices may be committed.
        store.commit_slice("e", going.id, going.token, a_slice(6, 10, ended={}, finished=False))
        segments = list(store.segments("e", packs=None, first_step=0, last_step=None))
        assert len({segment.id for segment in segments}) == 3, "numbers go on where they were"

"""Every test of the contract runs on SQLite, and on PostgreSQL where IPLAB_TEST_POSTGRES holds a DSN."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ipserver.store import Store, migrate, open_store
from tests.ipserver.store.cases import Clock

POSTGRES = os.environ.get("IPLAB_TEST_POSTGRES", "")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store, to be copied: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "iplab.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param(
            "postgresql",
            marks=[
                pytest.mark.postgres,
                pytest.mark.skipif(not POSTGRES, reason="IPLAB_TEST_POSTGRES is not set"),
            ],
        ),
    ]
)
def empty_dsn(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of this test's own, without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/iplab.db"
        return
    schema = f"iplab_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    try:
        url = sa.make_url(POSTGRES).update_query_dict(
            {"options": f"-csearch_path={schema} -csynchronous_commit=off"}
        )
        yield url.render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(schema, cascade=True))
        engine.dispose()


@pytest.fixture
def dsn(empty_dsn: str, migrated_file: Path) -> str:
    """A database of this test's own, with the tables of this version."""
    if empty_dsn.startswith("sqlite"):
        shutil.copy(migrated_file, empty_dsn.removeprefix("sqlite:///"))
    else:
        migrate(empty_dsn)
    return empty_dsn


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(dsn: str, clock: Clock) -> Iterator[Store]:
    """A store whose time is `clock`."""
    with open_store(dsn, clock=clock) as opened:
        yield opened

"""Every test of the contract runs on SQLite, and on PostgreSQL where IPLAB_TEST_POSTGRES holds a DSN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ipserver.store import Store, open_store
from tests.ipserver.postgres import POSTGRES, new_schema
from tests.ipserver.store.cases import Clock
from tests.ipserver.support import migrated

DATABASES = [
    "sqlite",
    pytest.param(
        "postgresql",
        marks=[
            pytest.mark.postgres,
            pytest.mark.skipif(not POSTGRES, reason="IPLAB_TEST_POSTGRES is not set"),
        ],
    ),
]


@pytest.fixture(params=DATABASES)
def empty_dsn(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An own database of the test, without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/iplab.db"
    else:
        with new_schema() as dsn:
            yield dsn


@pytest.fixture(params=DATABASES)
def dsn(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An own database of the test, with the tables of this version."""
    if request.param == "sqlite":
        return migrated(f"sqlite:///{tmp_path}/iplab.db")
    return next(request.getfixturevalue("schemas"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(dsn: str, clock: Clock) -> Iterator[Store]:
    """A store with the clock `clock`."""
    with open_store(dsn, clock=clock) as opened:
        yield opened

"""Fixtures of all tests of the server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ipserver import postgres, statements
from tests.ipserver.s3 import serving_s3

statements.share()


@pytest.fixture(scope="session")
def s3():
    with serving_s3() as server:
        yield server


@pytest.fixture(scope="session")
def schemas() -> Iterator[Iterator[str]]:
    """Iterates over empty, migrated schemas on PostgreSQL, one for each test that uses one."""
    made = postgres.schemas()
    yield made
    made.close()


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with its schema, made once for all workers; tests copy it."""
    from ipserver.forward import first
    from ipserver.forward.mlflow_sink import make_store

    ours = tmp_path_factory.getbasetemp()
    path = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "empty-mlflow" / "mlflow.db"
    with first.taking_turns(f"sqlite:///{path}"):
        first.make(path, lambda uri: make_store(uri, path.parent), ours=True)
    return path

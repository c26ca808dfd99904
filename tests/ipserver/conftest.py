"""Fixtures of all tests of the server."""

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
    """MLflow's database with its schema, made once, since that takes a second; tests copy it."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path

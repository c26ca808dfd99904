"""A home folder with a store and MLflow on SQLite."""

import shutil

import pytest
from mlflow.tracking import MlflowClient

from tests.ipserver.support import settings_in, store_in


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory):
    """MLflow's database with its schema, created once per session, since that takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def settings(tmp_path, empty_mlflow):
    settings = settings_in(tmp_path)
    (tmp_path / "mlflow").mkdir()
    shutil.copy(empty_mlflow, tmp_path / "mlflow" / "mlflow.db")
    return settings


@pytest.fixture
def store(settings):
    return store_in(settings)


@pytest.fixture
def mlflow(settings):
    return MlflowClient(tracking_uri=settings.mlflow_uri)

"""A home folder with a store and MLflow on SQLite."""

import shutil

import pytest
from mlflow.tracking import MlflowClient

from tests.ipserver.support import settings_in, store_in


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

"""Transfer of files from S3 to MLflow, whose artifacts are in a folder or in S3."""

import hashlib
import os

import pytest
from mlflow.tracking import MlflowClient

from ipserver.forward.connect import connect
from ipserver.forward.forwarder import Forwarder, Pass
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.s3 import KEY, SECRET
from tests.ipserver.support import settings_in, small_spec, store_in, submit


@pytest.fixture
def settings(tmp_path, s3):
    (tmp_path / "mlflow").mkdir()
    return settings_in(
        tmp_path,
        artifacts=s3.root().url,
        s3_endpoint_url=s3.endpoint,
        s3_region="us-east-1",
        s3_access_key_id=KEY,
        s3_secret_access_key=SECRET,
    )


@pytest.fixture
def environment(monkeypatch):
    """Restore the variables that `connect` sets for MLflow's client."""
    for name in (
        "MLFLOW_S3_ENDPOINT_URL",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def forwarded(settings):
    """A trained experiment of one run, all of it in MLflow; our checksum and MLflow's file."""
    store = store_in(settings)
    submit(store, small_spec(grid={"parameterizations": [{"preset": "mup"}], "seeds": [0]}))
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, settings, "d")
    while not store.get_experiment("e").state.terminal:
        dispatcher.step()
    executor.close()
    forwarder = Forwarder(store, connect(settings), settings.artifact_root, "f")
    while store.get_experiment("e").mlflow_pending_runs:
        assert forwarder.step() is not Pass.TROUBLE
    artifact = store.get_artifact("e", 0, "weights/final.safetensors")
    return artifact.sha256, store.get_run("e", 0).mlflow_run_id


def sha256(path):
    with open(path, "rb") as file:  # noqa: PTH123 - MLflow gives a string
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_from_s3_into_a_folder_of_mlflow(settings, environment, tmp_path):
    ours, run = forwarded(settings)

    mlflow = MlflowClient(tracking_uri=settings.mlflow_uri)
    (file,) = mlflow.list_artifacts(run, "weights")
    assert file.path == "weights/final.safetensors"
    copy = tmp_path / "mlflow" / "artifacts" / "e" / run / "artifacts" / file.path
    assert sha256(copy) == ours
    assert [path.name for path in copy.parent.iterdir()] == ["final.safetensors"]


def test_from_s3_into_s3_with_the_same_keys(settings, environment, s3, tmp_path):
    bucket = s3.root().url.split("/")[2]
    uri = f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    mlflow = MlflowClient(tracking_uri=uri)
    mlflow.create_experiment("e", artifact_location=f"s3://{bucket}/mlflow")
    settings = type(settings)(**settings.model_dump() | {"mlflow_tracking_uri": uri})

    ours, run = forwarded(settings)

    keys = sorted(item["Key"] for item in s3.client.list_objects_v2(Bucket=bucket)["Contents"])
    below = f"mlflow/{run}/artifacts"
    assert keys == [f"{below}/spec.json", f"{below}/weights/final.safetensors"]
    data = s3.client.get_object(Bucket=bucket, Key=keys[1])["Body"].read()
    assert hashlib.sha256(data).hexdigest() == ours
    assert os.environ["AWS_ACCESS_KEY_ID"] == KEY


def test_what_aws_is_told_already_is_left_alone(settings, environment, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody else's")

    connect(settings)

    assert os.environ["AWS_ACCESS_KEY_ID"] == "somebody else's"
    assert "AWS_SECRET_ACCESS_KEY" not in os.environ

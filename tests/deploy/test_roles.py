"""Roles instead of S3 keys: web identities of EKS, and instance profiles."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY, OVERLAYS, kustomize, named, overlay, pods
from tests.ipserver.s3 import S3Server, serving_s3

# As a trainer writes, to the settings' root; then as MLflow's client writes for the forwarder. For each set
# of variables in a fork of one process, since what they use takes seconds to load; its errors are in a file.
USE = """
import boto3, json, os, sys, tempfile, pathlib, s3fs, traceback
from ipserver.artifacts import open_artifacts
from ipserver.forward.connect import _lend_keys
from ipserver.environment.settings import load_settings
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

def use(mlflow):
    settings = load_settings()
    files = open_artifacts(settings.artifact_root)
    files.check(write=True)
    stored = files.put("e/final", lambda path: path.write_text("weights"))
    with files.reading("e/final", stored.sha256) as path:
        assert path.read_text() == "weights"
    _lend_keys(settings)
    copy = pathlib.Path(tempfile.mkdtemp()) / "copy.txt"
    copy.write_text("copy")
    S3ArtifactRepository(mlflow).log_artifact(str(copy))
    copy.unlink()
    assert "AWS_ACCESS_KEY_ID" not in os.environ

for errors, (mlflow, variables) in json.loads(sys.argv[1]).items():
    pid = os.fork()
    if pid == 0:
        os.environ.update(variables)
        sys.stderr = open(errors, "w", buffering=1)
        try:
            use(mlflow)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


Role = Callable[[S3Server, Path], dict[str, str]]


@pytest.fixture(scope="module")
def s3():
    with serving_s3() as server:
        yield server


def _run(command: list[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    # Variables of this process that other tests and its own forwarders set do not count.
    clean = {
        name: os.environ[name] for name in os.environ if not name.startswith(("IPLAB_", "AWS_", "MLFLOW_"))
    }
    path = f"{Path(sys.executable).parent}:{clean['PATH']}"
    return subprocess.run(
        command,
        env={**clean, "HOME": "/nonexistent", "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _settings(s3: S3Server, bucket: str) -> dict[str, str]:
    return {
        "IPLAB_ARTIFACTS": f"s3://{bucket}/artifacts",
        "IPLAB_S3_ENDPOINT_URL": s3.endpoint,
        "IPLAB_S3_REGION": "us-east-1",
    }


def _web_identity(s3: S3Server, folder: Path) -> dict[str, str]:
    """Variables and a file that EKS puts into a pod with an annotated account."""
    (folder / "token").write_text("a.web.identity")
    return {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/iplab",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token"),
        "AWS_ENDPOINT_URL_STS": s3.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _instance_profile(s3: S3Server, folder: Path) -> dict[str, str]:
    """The metadata service of an EC2 machine; moto plays it."""
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": s3.endpoint}


def _no_role(s3: S3Server, folder: Path) -> dict[str, str]:
    return {"AWS_EC2_METADATA_DISABLED": "true"}


@dataclass
class Used:
    """What came of the use of a bucket with a role."""

    bucket: str
    status: int
    errors: str


@pytest.fixture(scope="module")
def used(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> dict[Role, Used]:
    roles, folder = (_web_identity, _instance_profile, _no_role), tmp_path_factory.mktemp("roles")
    buckets = [s3.root().url.removeprefix("s3://").partition("/")[0] for _ in roles]
    files = [folder / role.__name__ for role in roles]
    asked = {
        str(file): (f"s3://{bucket}/mlflow", _settings(s3, bucket) | role(s3, folder))
        for file, bucket, role in zip(files, buckets, roles, strict=True)
    }
    done = _run([sys.executable, "-c", USE, json.dumps(asked)])
    assert done.returncode == 0, done.stderr
    statuses = map(int, done.stdout.split()[-len(roles) :])
    errors = (file.read_text() for file in files)
    return dict(zip(roles, map(Used, buckets, statuses, errors), strict=True))


@pytest.mark.parametrize("role", [_web_identity, _instance_profile])
def test_trainers_and_the_forwarder_do_with_a_role(role: Role, s3: S3Server, used: dict[Role, Used]) -> None:
    done = used[role]
    assert done.status == 0, done.errors
    for key, value in (("artifacts/e/final", b"weights"), ("mlflow/copy.txt", b"copy")):
        assert s3.client.get_object(Bucket=done.bucket, Key=key)["Body"].read() == value


def test_without_keys_and_role_it_says_so(used: dict[Role, Used]) -> None:
    done = used[_no_role]
    assert done.status == 1
    assert "no credentials; set IPLAB_S3_ACCESS_KEY_ID" in done.errors


def test_make_bucket_does_with_a_role(s3: S3Server, tmp_path: Path) -> None:
    settings = {"IPLAB_S3_ENDPOINT_URL": s3.endpoint, "IPLAB_S3_REGION": "us-east-1"}
    done = _run([DEPLOY / "bin/make-bucket", "by-role"], **settings, **_web_identity(s3, tmp_path))
    assert done.returncode == 0, done.stderr
    s3.client.head_bucket(Bucket="by-role")


@pytest.fixture
def mlflow(tmp_path: Path):
    """Runs mlflow-server with a fake `mlflow` that prints its arguments and variables."""
    fake = tmp_path / "bin" / "mlflow"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nenv | grep -E "^(AWS|MLFLOW)_" | sort\necho "$@"\n')
    fake.chmod(0o755)

    def run(secrets: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "secrets"
        folder.mkdir()
        for name, value in secrets.items():
            (folder / name).write_text(value)
        given = {"IPLAB_SECRETS": str(folder), "MLFLOW_DEFAULT_ARTIFACT_ROOT": "s3://lab/mlflow"}
        path = f"{fake.parent}:{os.environ['PATH']}"
        return _run([DEPLOY / "bin/mlflow-server"], **{**given, "PATH": path, **environment})

    return run


STORE = "postgresql+psycopg://iplab:secret@postgres:5432/mlflow"


def test_mlflow_server_takes_a_role(mlflow) -> None:
    done = mlflow({"mlflow_store": STORE}, AWS_ROLE_ARN="arn:aws:iam::1:role/iplab")
    assert done.returncode == 0, done.stderr
    *variables, command = done.stdout.splitlines()
    assert variables == [
        "AWS_ROLE_ARN=arn:aws:iam::1:role/iplab",
        f"MLFLOW_BACKEND_STORE_URI={STORE}",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT=s3://lab/mlflow",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false",
    ]
    assert command.startswith("server ") and "secret" not in command


def test_mlflow_server_takes_keys_and_the_settings_of_the_store(mlflow) -> None:
    secrets = {"mlflow_store": STORE, "s3_access_key_id": "key", "s3_secret_access_key": "hidden"}
    done = mlflow(secrets, IPLAB_S3_ENDPOINT_URL="http://s3:9000", IPLAB_S3_REGION="here")
    assert done.returncode == 0, done.stderr
    wanted = {
        "AWS_ACCESS_KEY_ID=key",
        "AWS_SECRET_ACCESS_KEY=hidden",
        "AWS_DEFAULT_REGION=here",
        "MLFLOW_S3_ENDPOINT_URL=http://s3:9000",
    }
    assert wanted <= set(done.stdout.splitlines())


def test_mlflow_server_reads_secrets_as_our_parts_do(mlflow) -> None:
    """Editors of Windows write a mark before the text, and line ends of two characters."""
    key = {"s3_access_key_id": "key\r\n", "s3_secret_access_key": "hidden\n"}
    done = mlflow({"mlflow_store": f"\ufeff{STORE}\r\n", **key})
    assert done.returncode == 0, done.stderr
    wanted = {f"MLFLOW_BACKEND_STORE_URI={STORE}", "AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=hidden"}
    assert wanted <= set(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        ({}, "mlflow_store is missing"),
        ({"mlflow_store": ""}, "mlflow_store is missing, empty"),
        ({"mlflow_store": " \n"}, "mlflow_store is missing, empty"),
        ({"mlflow_store": STORE, "s3_access_key_id": "key"}, "must hold both or neither"),
        ({"mlflow_store": STORE, "s3_secret_access_key": "hidden"}, "must hold both or neither"),
        (
            {"mlflow_store": STORE, "s3_access_key_id": "key", "s3_secret_access_key": ""},
            "s3_secret_access_key is missing, empty",
        ),
    ],
)
def test_mlflow_server_says_what_is_wrong(mlflow, secrets: dict[str, str], message: str) -> None:
    done = mlflow(secrets)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "hidden" not in done.stderr


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_pod_waits_for_keys(name: str) -> None:
    """Kubernetes starts a pod only if every key of a Secret that it names exists or is optional."""
    for pod in pods(overlay(name)):
        for volume in pod.spec["volumes"]:
            for source in volume.get("projected", {}).get("sources", ()):
                secret = source.get("secret", {})
                assert secret.get("name") != "iplab" or secret["optional"] is True
            # Secrets are mounted as a whole; only the laptop overlay's own object store needs a key.
            keys = {item["key"] for item in volume.get("secret", {}).get("items", ())}
            assert pod.owner == "StatefulSet s3" or not any(key.startswith("s3_") for key in keys)


def test_roles_are_given_to_every_account_that_needs_s3(tmp_path: Path) -> None:
    """The overlay for GPUs with deploy/k8s/components/aws-roles."""
    for folder in ("base", "components", "overlays"):
        (tmp_path / folder).symlink_to(DEPLOY / "k8s" / folder)
    k8s = os.path.relpath(DEPLOY / "k8s", tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(
        f"resources: [{k8s}/overlays/gpu]\ncomponents: [{k8s}/components/aws-roles]\n"
    )
    resources = kustomize(tmp_path / "mine")
    roles = {
        name: account["metadata"].get("annotations", {}).get("eks.amazonaws.com/role-arn", "")
        for name, account in named(resources, "ServiceAccount").items()
    }
    assert {name for name, role in roles.items() if role.startswith("arn:aws:iam::CHANGE-ME:")} == {
        "iplab-api",
        "iplab-dispatch",
        "iplab-forward",
        "iplab-mlflow",
        "iplab-ray-worker",
    }
    # All pods that read files have an account with a role.
    for pod in pods(resources):
        account = pod.spec.get("serviceAccountName")
        assert roles.get(account or "") or pod.owner in {"Job iplab-migrate", "RayCluster iplab head"}

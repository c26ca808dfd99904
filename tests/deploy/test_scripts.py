"""The image's scripts against real services."""

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ipserver.ops.heartbeat import Heartbeat
from tests.deploy.manifests import DEPLOY
from tests.ports import free_port

BIN = DEPLOY / "bin"


def _run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("IPLAB_", "AWS_"))}
    return subprocess.run(
        [BIN / script, *arguments],
        env={**clean, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def http() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_healthy_knows_what_answers(http: int) -> None:
    assert _run("healthy", "tcp", f"127.0.0.1:{http}").returncode == 0
    assert _run("healthy", "http", f"http://127.0.0.1:{http}/health").returncode == 0


def test_healthy_knows_what_does_not(http: int) -> None:
    free = free_port()
    for arguments in (
        ("tcp", f"127.0.0.1:{free}"),
        ("grpc", f"127.0.0.1:{free}"),
        ("http", f"http://127.0.0.1:{http}/else"),
    ):
        done = _run("healthy", *arguments)
        assert done.returncode == 1
        assert arguments[1] in done.stderr
    assert _run("healthy", "ftp", "x").returncode == 1


def test_healthy_knows_a_sign_of_life(tmp_path: Path) -> None:
    file = tmp_path / "dispatch.alive"
    assert _run("healthy", "fresh", f"{file}:60").returncode == 1
    Heartbeat(file)()
    assert _run("healthy", "fresh", f"{file}:60").returncode == 0
    long_ago = time.time() - 86_400
    os.utime(file, (long_ago, long_ago))
    done = _run("healthy", "fresh", f"{file}:60")
    assert done.returncode == 1
    # A day, and the time that the probe took to start.
    assert re.search(r"it was touched 864\d\d s ago", done.stderr)
    other = tmp_path / "studies.alive"
    Heartbeat(other)()
    done = _run("healthy", "fresh", f"{other}:60", f"{file}:60")  # each of them
    assert done.returncode == 1 and str(file) in done.stderr


@pytest.fixture
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_make_bucket_makes_it_once(s3: str) -> None:
    settings = {
        "IPLAB_S3_ENDPOINT_URL": s3,
        "IPLAB_S3_REGION": "us-east-1",
        "IPLAB_S3_ACCESS_KEY_ID": "key",
        "IPLAB_S3_SECRET_ACCESS_KEY": "secret",
    }
    for _ in range(2):
        done = _run("make-bucket", "lab", **settings)
        assert done.returncode == 0, done.stderr
    client = boto3.client(
        "s3",
        endpoint_url=s3,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    # All of moto's servers in a process share buckets, so there may be those of other tests.
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]].count("lab") == 1


def test_make_bucket_says_where_no_store_is() -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    done = _run(
        "make-bucket",
        "lab",
        IPLAB_S3_ENDPOINT_URL=endpoint,
        IPLAB_S3_ACCESS_KEY_ID="key",
        IPLAB_S3_SECRET_ACCESS_KEY="secret",
    )
    assert done.returncode == 1
    assert endpoint in done.stderr
    assert "Traceback" not in done.stderr


def test_mlflow_server_says_which_secret_is_missing(tmp_path: Path) -> None:
    done = _run("mlflow-server", IPLAB_SECRETS=str(tmp_path), MLFLOW_DEFAULT_ARTIFACT_ROOT="s3://lab/mlflow")
    assert done.returncode == 2
    assert f"{tmp_path}/mlflow_store" in done.stderr


def test_dispatch_wants_the_head() -> None:
    done = _run("dispatch")
    assert done.returncode != 0
    assert "IPLAB_RAY_ADDRESS" in done.stderr


def test_secrets_are_new_private_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"

    def make() -> dict[str, str]:
        subprocess.run([DEPLOY / "make-secrets", folder], check=True, capture_output=True)
        return {path.name: path.read_text() for path in folder.iterdir()}

    first = make()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert make() == first
    assert len({first["postgres_password"], first["s3_secret_access_key"], first["ray_token"]}) == 3
    assert all(len(first[name]) == 48 for name in ("postgres_password", "s3_secret_access_key", "ray_token"))
    password = first["postgres_password"]
    assert first["store"] == f"postgresql+psycopg://iplab:{password}@postgres:5432/iplab"
    assert first["mlflow_store"] == f"postgresql+psycopg://iplab:{password}@postgres:5432/mlflow"


def test_an_empty_secret_of_an_interrupted_start_is_written_anew(tmp_path: Path) -> None:
    """Kept, the empty password would have become part of the DSNs."""
    (tmp_path / "postgres_password").touch()
    (tmp_path / ".new").write_text("half")  # was being written when the script was killed
    subprocess.run([DEPLOY / "make-secrets", tmp_path], check=True, capture_output=True)
    password = (tmp_path / "postgres_password").read_text()
    assert len(password) == 48
    assert f":{password}@" in (tmp_path / "store").read_text()
    assert not (tmp_path / ".new").exists()


def test_no_secret_is_written_without_random_numbers(tmp_path: Path) -> None:
    """`od` is missing in some small images."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("dirname", "mkdir", "chmod", "head", "tr", "cat", "mv", "grep"):
        (tools / name).symlink_to(shutil.which(name) or name)
    folder = tmp_path / "secrets"
    command = ["/bin/sh", DEPLOY / "make-secrets", folder]
    done = subprocess.run(command, env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{folder}/postgres_password" in done.stderr
    assert list(folder.iterdir()) == []


def test_a_dsn_with_another_password_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("postgresql+psycopg://iplab:older@postgres:5432/iplab")
    done = subprocess.run([DEPLOY / "make-secrets", tmp_path], capture_output=True, text=True, check=True)
    assert f"{tmp_path}/store has another password than postgres_password" in done.stderr

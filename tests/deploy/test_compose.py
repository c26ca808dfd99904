"""The compose file: valid, complete, on loopback, without privileges."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cluster import compose
from tests.deploy.manifests import COMPOSE, DEPLOY, is_ours

SERVICES = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if is_ours(service["image"]))


# Docker Compose itself.
with_compose = pytest.mark.skipif(
    compose.program() is None, reason="no Docker Compose: PyPI has no wheel of it for this machine"
)


@with_compose
def test_docker_compose_accepts_it() -> None:
    assert compose.config({})["services"].keys() == SERVICES.keys()


@with_compose
def test_a_misspelt_field_would_be_seen(tmp_path: Path) -> None:
    wrong = {"services": {"api": {"image": "iplab:0.1.0", "comand": ["ipserver"]}}}
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(compose.Refused, match="comand"):
        compose.config({}, tmp_path / "compose.yaml")


@with_compose
def test_a_folder_and_an_environment_of_others_play_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compose reads `.env` and its own variables."""
    (tmp_path / ".env").write_text("IPLAB_WORKER_CPUS=7")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPOSE_FILE", "/nowhere/compose.yaml")
    monkeypatch.setenv("IPLAB_WORKER_CPUS", "9")
    assert "--num-cpus=2" in compose.read({})["ray-worker"].command


def test_what_the_issue_of_a_cluster_needs_is_there() -> None:
    parts = {"bucket", "migrate", "mlflow", "ray-head", "ray-worker", "api", "dispatch", "forward"}
    assert set(OURS) == parts
    assert SERVICES.keys() == parts | {"postgres", "s3"}


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    metrics = [f"127.0.0.1:{port}:9464" for port in (9464, 9465, 9466)]  # as of `ipserver up`
    assert published == ["127.0.0.1:5000:5000", "127.0.0.1:50051:50051", *metrics]


@pytest.mark.parametrize("name", OURS)
def test_nothing_runs_as_root(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert any(character.isdigit() for character in tag)


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"bucket", "migrate"}))
def test_what_goes_on_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_no_password_stands_in_the_file() -> None:
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            secret = any(word in name for word in ("PASSWORD", "SECRET_ACCESS", "TOKEN", "STORE_URI"))
            assert not secret or name.endswith(("_FILE", "_PATH")), name


def test_secrets_are_those_that_make_secrets_writes(tmp_path: Path) -> None:
    subprocess.run([DEPLOY / "make-secrets", tmp_path / "s"], check=True, capture_output=True)
    written = {path.name for path in (tmp_path / "s").iterdir()}
    assert {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} == written
    used = {
        entry if isinstance(entry, str) else entry["source"]
        for service in SERVICES.values()
        for entry in service.get("secrets", ())
    }
    assert used == written


@with_compose
def test_the_cluster_test_refuses_what_it_does_not_understand(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(yaml.safe_dump({"services": {"api": {"image": "iplab:1", "entrypoint": ["sh"]}}}))
    with pytest.raises(compose.Refused, match="entrypoint"):
        compose.read({}, path)


@with_compose
def test_the_cluster_test_reads_it_whole() -> None:
    read = compose.read({"IPLAB_WORKER_CPUS": "3"})
    assert read.keys() == SERVICES.keys()
    assert "--num-cpus=3" in read["ray-worker"].command
    assert read["ray-worker"].scale == 2
    assert read["dispatch"].environment["RAY_AUTH_MODE"] == "token"
    assert read["dispatch"].grace == 40.0
    # 90 s of start_period (Compose writes 1m30s), then twelve attempts, one every ten seconds.
    assert read["dispatch"].healthcheck == compose.Healthcheck(
        ("healthy", "fresh", "/var/lib/iplab/dispatch.alive:120", "/var/lib/iplab/studies.alive:900"), 210.0
    )


@pytest.mark.parametrize(
    ("text", "wanted"), [("0s", 0.0), ("1m30s", 90.0), ("2h", 7200.0), ("1h0m1s", 3601.0)]
)
def test_durations(text: str, wanted: float) -> None:
    assert compose.seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "10", "s", "1.5s", "10ms", "1m 3s", "-1s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(compose.Refused, match="is not a duration"):
        compose.seconds(text)

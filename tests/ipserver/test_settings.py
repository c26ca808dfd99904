"""Settings: defaults below the home folder, clear refusals."""

import pytest

from ipserver.errors import StartupError
from ipserver.parts import free_address
from ipserver.settings import load_settings, without_password
from ipserver.startup import prepare_home


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("IPLAB_")]:
        monkeypatch.delenv(name)


def test_everything_lies_below_the_home_folder(tmp_path):
    settings = load_settings(home=str(tmp_path))

    assert settings.store_dsn == f"sqlite:///{tmp_path}/iplab.db"
    assert settings.artifact_root.folder == tmp_path / "artifacts"
    assert settings.mlflow_uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert settings.mlflow_artifacts == tmp_path / "mlflow" / "artifacts"


def test_another_process_gets_the_same_settings(tmp_path, monkeypatch):
    settings = load_settings(home=str(tmp_path), data="/data", cpus=2, insecure=True, address="0.0.0.0:1")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    assert load_settings() == settings


@pytest.mark.parametrize("address", ["0.0.0.0:50051", "[::]:50051", "192.168.1.5:1", "example.org:1"])
def test_an_address_beyond_loopback_needs_insecure(address):
    with pytest.raises(StartupError, match=r"beyond loopback.*--insecure"):
        load_settings(address=address)

    assert load_settings(address=address, insecure=True).address == address


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:0", "[::1]:50051", "127.1.2.3:5"])
def test_loopback_needs_nothing(address):
    assert load_settings(address=address).address == address


def test_every_wrong_setting_is_named(monkeypatch):
    monkeypatch.setenv("IPLAB_MAX_RUNS", "many")
    monkeypatch.setenv("IPLAB_SLICE_SECONDS", "-1")

    with pytest.raises(StartupError) as error:
        load_settings()

    assert "IPLAB_MAX_RUNS='many': Input should be a valid integer" in str(error.value)
    assert "IPLAB_SLICE_SECONDS='-1': Input should be greater than 0" in str(error.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:99999"])
def test_an_address_has_a_port(address):
    with pytest.raises(StartupError, match="port"):
        load_settings(address=address)


def test_a_home_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StartupError, match=r"cannot create the folder .*file/home.*IPLAB_HOME"):
        prepare_home(load_settings(home=str(tmp_path / "file" / "home")))


def test_a_port_in_use_is_named():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartupError, match=rf"cannot listen on {address}.*--address"):
            free_address(address)


def test_port_0_takes_a_free_one():
    host, _, port = free_address("127.0.0.1:0").rpartition(":")

    assert host == "127.0.0.1"
    assert int(port) > 0


@pytest.mark.parametrize(
    "password", ["secret", "se/cret", "se@cret", "s/e@c/r@et", "a:b", "se%2Fcret", "secret?#&"]
)
@pytest.mark.parametrize("user", ["lab", "", "lab@tenant"])
def test_no_password_is_shown(user, password):
    shown = without_password(f"postgresql+psycopg://{user}:{password}@db:5432/iplab")

    assert shown == f"postgresql+psycopg://{user}:***@db:5432/iplab"


@pytest.mark.parametrize(
    "text",
    ["sqlite:////home/a:b@c/iplab.db", "http://127.0.0.1:5000/path", "postgresql://lab@db/iplab", "", "64"],
)
def test_what_has_no_password_is_shown_as_it_is(text):
    assert without_password(text) == text

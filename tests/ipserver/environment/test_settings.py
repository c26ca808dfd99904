"""Settings: sources, defaults below the home folder, errors, and masking of secrets."""

import pickle

import pytest
import sqlalchemy
import trustme
from click.testing import CliRunner

from ipserver.cli import main
from ipserver.environment.settings import Settings, load_settings
from ipserver.errors import StartupError
from ipserver.ops.places import free_address
from ipserver.ops.startup import prepare_home
from ipserver.store import migrate
from tests.ipserver.tls import write_certificate


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
    settings = load_settings(
        home=str(tmp_path),
        data="/data",
        cpus=2,
        insecure=True,
        address="0.0.0.0:1",
        expected_nodes='[{"cpus": 2, "disk": 0.5}]',
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    assert load_settings() == settings


@pytest.mark.parametrize("address", ["0.0.0.0:50051", "[::]:50051", "192.168.1.5:1", "example.org:1"])
def test_an_address_beyond_loopback_needs_insecure(address):
    with pytest.raises(StartupError, match=r"beyond loopback.*--insecure"):
        load_settings(address=address)

    assert load_settings(address=address, insecure=True).address == address


def test_metrics_beyond_loopback_need_insecure():
    with pytest.raises(StartupError, match=r"metrics_address '0.0.0.0:9464' is beyond loopback.*--insecure"):
        load_settings(metrics_address="0.0.0.0:9464")
    with pytest.raises(StartupError, match=r"is not HOST:PORT with a port of 0 \.\. 65533"):
        load_settings(metrics_address="127.0.0.1:65534")  # the other parts need the two ports after it

    assert load_settings().metrics_address == ""
    assert load_settings(metrics_address="0.0.0.0:9464", insecure=True).metrics_address == "0.0.0.0:9464"
    assert load_settings(metrics_address="[::1]:9464").metrics_address == "[::1]:9464"


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


def test_a_kernel_without_ipv6_is_told(monkeypatch):
    import errno
    import socket

    def no_such_family(*_):
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", no_such_family)
    with pytest.raises(StartupError, match=r"cannot listen on \[::1\]:0: Address family not supported"):
        free_address("[::1]:0")


def test_port_0_takes_a_free_one():
    host, _, port = free_address("127.0.0.1:0").rpartition(":")

    assert host == "127.0.0.1"
    assert int(port) > 0


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A settings file and a folder of secrets, both named in the environment."""
    file, secrets = tmp_path / "settings.toml", tmp_path / "secrets"
    file.write_text("")
    secrets.mkdir()
    monkeypatch.setenv("IPLAB_SETTINGS", str(file))
    monkeypatch.setenv("IPLAB_SECRETS", str(secrets))
    return file, secrets


def test_each_place_hides_those_after_it(places, monkeypatch):
    file, secrets = places
    assert load_settings().ray_address == ""

    file.write_text('ray_address = "file:1"\nmax_runs = 7\ninsecure = true\n')
    assert load_settings().ray_address == "file:1"
    (secrets / "ray_address").write_text("secret:1\n")
    assert load_settings().ray_address == "secret:1"
    monkeypatch.setenv("IPLAB_RAY_ADDRESS", "environment:1")
    assert load_settings().ray_address == "environment:1"
    assert load_settings(ray_address="option:1").ray_address == "option:1"

    assert load_settings().max_runs == 7
    assert load_settings().insecure is True


def test_an_empty_variable_hides_nothing(places, monkeypatch):
    file, _ = places
    file.write_text('data = "/from/the/file"')
    monkeypatch.setenv("IPLAB_DATA", "")

    assert str(load_settings().data) == "/from/the/file"


def test_secrets_of_a_kubernetes_volume(places):
    _, secrets = places
    (secrets / "..2026_11_23").mkdir()
    (secrets / "..2026_11_23" / "store").write_text("postgresql+psycopg://lab:se/cret@db/iplab\n")
    (secrets / "..data").symlink_to("..2026_11_23")
    (secrets / "store").symlink_to("..data/store")

    assert load_settings().store_dsn == "postgresql+psycopg://lab:se/cret@db/iplab"


def test_files_as_editors_of_windows_write_them(places):
    """With a mark before the text, and line ends of two characters."""
    file, secrets = places
    file.write_bytes(b'\xef\xbb\xbfcpus = 3\r\ns3_region = "here"\r\n')
    (secrets / "ray_address").write_bytes(b"\xef\xbb\xbfhead:6379\r\n")
    settings = load_settings()
    assert (settings.cpus, settings.s3_region, settings.ray_address) == (3, "here", "head:6379")


def test_a_file_among_the_secrets_that_names_no_setting_is_told(places, caplog):
    _, secrets = places
    (secrets / "stroe").write_text("postgresql+psycopg://db/iplab")

    assert load_settings().store.get_secret_value() == ""
    assert "stroe is not used: there is no setting 'stroe'" in caplog.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda secrets: secrets.rmdir(), r"IPLAB_SECRETS: cannot read the folder .*secrets: No such file"),
        (
            lambda secrets: (secrets.rmdir(), secrets.write_text("")),
            r"IPLAB_SECRETS: cannot read the folder .*secrets: Not a directory",
        ),
        (
            lambda secrets: (secrets / "store").symlink_to("gone"),
            r"IPLAB_SECRETS: cannot read .*secrets/store: No such file",
        ),
        (
            lambda secrets: (secrets / "store").mkdir(),
            r"IPLAB_SECRETS: cannot read .*secrets/store: Is a directory",
        ),
        (
            lambda secrets: (secrets / "store").write_bytes(b"\xff\xfe"),
            r"IPLAB_SECRETS: cannot read .*secrets/store: not text",
        ),
        (
            lambda secrets: (secrets / "store").write_text("\n"),
            r"IPLAB_SECRETS: .*secrets/store is empty",
        ),
    ],
)
def test_secrets_that_cannot_be_read_are_named(places, make, message):
    _, secrets = places
    make(secrets)

    with pytest.raises(StartupError, match=message):
        load_settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_runs = many\n", r"IPLAB_SETTINGS: .*settings\.toml is not TOML: .*line 1"),
        ("max_rnus = 5\n", r"settings\.toml has unknown settings: 'max_rnus'"),
        ("IPLAB_MAX_RUNS = 5\n", r"'IPLAB_MAX_RUNS'.*without IPLAB_"),
        ('secrets = "/elsewhere"\n', "has unknown settings: 'secrets'"),
        ("max_runs = 0\n", r"IPLAB_MAX_RUNS='0': Input should be greater"),
    ],
)
def test_a_wrong_settings_file_is_named(places, text, message):
    file, _ = places
    file.write_text(text)

    with pytest.raises(StartupError, match=message):
        load_settings()


def test_a_missing_settings_file_is_named(places):
    file, _ = places
    file.unlink()

    with pytest.raises(StartupError, match=r"IPLAB_SETTINGS: cannot read .*settings\.toml: No such file"):
        load_settings()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"artifacts": "s3://"}, "IPLAB_ARTIFACTS='s3://': must be a folder, or s3://BUCKET/PREFIX"),
        ({"artifacts": "s3://Upper/x"}, "IPLAB_ARTIFACTS"),
        ({"artifacts": "gs://bucket/x"}, "IPLAB_ARTIFACTS='gs://bucket/x'"),
        ({"artifacts": "s3://bucket//x"}, "IPLAB_ARTIFACTS"),
        ({"artifacts": "s3://bucket/x?versionId=1"}, r"IPLAB_ARTIFACTS=.*no \?"),
        ({"s3_endpoint_url": "minio:9000"}, "IPLAB_S3_ENDPOINT_URL='minio:9000': must be http://HOST:PORT"),
        ({"s3_endpoint_url": "http://key:word@minio"}, r"IPLAB_S3_ENDPOINT_URL='http://key:\*\*\*@minio'"),
        ({"s3_access_key_id": "AKIA"}, "belong together: set both or neither"),
        ({"s3_secret_access_key": "hidden"}, "belong together: set both or neither"),
        ({"ray_address": "ray://head:10001"}, r"Ray's client protocol.*`ray start --address.*--num-cpus 0`"),
        ({"ray_address": "head"}, "IPLAB_RAY_ADDRESS='head': must be HOST:PORT"),
        ({"mlflow_tracking_uri": "mlflow:5000"}, "IPLAB_MLFLOW_TRACKING_URI='mlflow:5000': must be http://"),
        ({"wait_seconds": -1}, "IPLAB_WAIT_SECONDS='-1'"),
        (
            {"expected_nodes": "8 cpus"},
            r"IPLAB_EXPECTED_NODES='8 cpus': must be JSON such as \[\{\"cpus\": 8",
        ),
        ({"expected_nodes": '{"cpus": 8}'}, "IPLAB_EXPECTED_NODES=.*valid tuple"),
        ({"expected_nodes": "[{}]"}, r"IPLAB_EXPECTED_NODES\[0\]='{}': .*at least 1 item"),
        (
            {"expected_nodes": [{"cpus": 8}, {"gpus": 0}]},
            r"EXPECTED_NODES\[1\]\['gpus'\]='0': .*greater than 0",
        ),
        ({"expected_nodes": '[{"cpus": Infinity}]'}, r"EXPECTED_NODES\[0\]\['cpus'\]='inf': .*finite"),
        ({"expected_nodes": '[{"cpus": NaN}]'}, r"EXPECTED_NODES\[0\]\['cpus'\]='nan': .*finite"),
        ({"expected_nodes": '[{"cpus": "many"}]'}, r"EXPECTED_NODES\[0\]\['cpus'\]='many': .*number"),
        ({"expected_nodes": '[{"": 1}]'}, r"EXPECTED_NODES\[0\].*at least 1 character"),
        ({"expected_nodes": '[{"CPU": 8}]'}, "IPLAB_EXPECTED_NODES=.*has CPU; use the names cpus for cores"),
    ],
)
def test_wrong_values_are_named(options, message):
    with pytest.raises(StartupError, match=message):
        load_settings(**options)


def test_expected_nodes_as_json_and_as_tables(places, monkeypatch):
    file, _ = places
    assert load_settings().expected_nodes == ()

    file.write_text("[[expected_nodes]]\ncpus = 8\ngpus = 1\n[[expected_nodes]]\ncpus = 4\n")
    assert load_settings().expected_nodes == ({"cpus": 8.0, "gpus": 1.0}, {"cpus": 4.0})
    monkeypatch.setenv("IPLAB_EXPECTED_NODES", '[{"cpus": 2, "disk": 0.5}]')
    assert load_settings().expected_nodes == ({"cpus": 2.0, "disk": 0.5},)


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("s3://bucket/prefix/", "s3://bucket/prefix"),
        ("s3://bucket", "s3://bucket"),
        ("/folder/../other", "/other"),
    ],
)
def test_the_artifact_root(given, root):
    assert load_settings(artifacts=given).artifact_root.url == root


def test_s3_is_reached_with_its_settings():
    root = load_settings(
        artifacts="s3://bucket/prefix",
        s3_endpoint_url="http://minio:9000/",
        s3_region="eu-1",
        s3_access_key_id="key",
        s3_secret_access_key="word",
    ).artifact_root

    assert (root.endpoint_url, root.region) == ("http://minio:9000", "eu-1")
    assert (root.access_key_id, root.secret_access_key) == ("key", "word")


SECRETS = {
    "store": "postgresql+psycopg://lab:pass-of-store@db/iplab",
    "mlflow_tracking_uri": "http://lab:pass-of-mlflow@mlflow:5000",
    "s3_access_key_id": "the-key-itself",
    "s3_secret_access_key": "pass-of-s3",
}


def _shows_a_secret(text):
    return "pass-of" in text or "the-key-itself" in text


def test_no_secret_is_ever_shown(monkeypatch):
    settings = load_settings(**SECRETS)
    for text in (repr(settings), str(settings), repr(settings.artifact_root), str(settings.model_dump())):
        assert not _shows_a_secret(text)
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"IPLAB_{name.upper()}", value)
    shown = CliRunner().invoke(main, ["settings"], catch_exceptions=False).output
    assert not _shows_a_secret(shown)
    assert "IPLAB_STORE=postgresql+psycopg://lab:***@db/iplab" in shown
    assert "IPLAB_MLFLOW_TRACKING_URI=http://lab:***@mlflow:5000" in shown
    assert "IPLAB_S3_ACCESS_KEY_ID=***" in shown
    assert "IPLAB_S3_SECRET_ACCESS_KEY=***" in shown


@pytest.mark.parametrize("name", ["s3_access_key_id", "s3_secret_access_key", "mlflow_tracking_uri"])
def test_a_wrong_secret_is_not_shown(name):
    with pytest.raises(StartupError) as caught:
        load_settings(**{name: "pass-of-x" if name.startswith("s3") else "ftp://lab:pass-of-x@h"}, max_runs=0)

    assert not _shows_a_secret(str(caught.value))


def test_secrets_reach_a_part_that_is_started(monkeypatch):
    settings = load_settings(**SECRETS, artifacts="s3://bucket/prefix")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)

    assert load_settings() == settings
    assert load_settings().artifact_root == settings.artifact_root
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_every_setting_is_printed_with_its_meaning():
    shown = CliRunner().invoke(main, ["settings"], catch_exceptions=False).output

    for name, field in Settings.model_fields.items():
        assert f"IPLAB_{name.upper()}=" in shown
        assert " ".join(field.description.split()) in " ".join(shown.split())  # the text is wrapped


@pytest.mark.parametrize("name", ["a b", "a'b", 'a"b', "a#b", "日本", "-dash", "a\\b", "{b}$*", "x" * 200])
def test_a_home_may_have_such_a_name(name, tmp_path):
    settings = load_settings(home=str(tmp_path / name))
    prepare_home(settings)

    migrate(settings.store_dsn)
    sqlalchemy.create_engine(settings.mlflow_uri).connect().close()

    assert (settings.home / "iplab.db").stat().st_size > 0
    assert (settings.home / "mlflow" / "mlflow.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("letter", ["?", "%", "\n", "\x7f", "\udcff"])
def test_a_home_that_cannot_stand_in_an_address_is_refused(letter, tmp_path):
    with pytest.raises(
        StartupError, match=r"^wrong settings: IPLAB_HOME='.*which the URLs of SQLite and MLflow do not allow"
    ):
        load_settings(home=str(tmp_path / f"a{letter}20b"))
    load_settings(home=str(tmp_path), data=str(tmp_path / f"a{letter}b"))  # no address has it


def test_where_a_home_is_cannot_be_told(tmp_path, monkeypatch):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for home, said in {
        "~nobody-of-this-name/x": "Could not determine home directory; give an absolute path",
        str(tmp_path / "circle" / "x"): "",
        "relative": "is relative to the working folder, which has been removed; give an absolute path",
    }.items():
        with pytest.raises(StartupError, match=f"^wrong settings: IPLAB_HOME=.*{said}"):
            load_settings(home=home)
    monkeypatch.chdir(tmp_path)


def test_a_wrong_value_is_shown_in_part_if_it_is_long():
    with pytest.raises(StartupError) as caught:
        load_settings(address="x" * 100_000, cpus="y" * 100_000)
    assert len(str(caught.value)) < 1000


def test_beyond_loopback_tls_and_tokens_are_asked_for(tmp_path, monkeypatch):
    write_certificate(trustme.CA(), tmp_path / "tls")
    monkeypatch.setenv("IPLAB_ADDRESS", "0.0.0.0:50051")
    with pytest.raises(StartupError, match=r"Set TLS \(IPLAB_TLS\) and IPLAB_AUTH=1 "):
        load_settings()
    with pytest.raises(StartupError, match=r"Set IPLAB_AUTH=1 "):
        load_settings(tls=tmp_path / "tls")
    with pytest.raises(StartupError, match=r"Set TLS \(IPLAB_TLS\) "):
        load_settings(auth=True)
    assert load_settings(tls=tmp_path / "tls", auth=True).certificates is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"oidc_issuer": "https://a.org"}, "belong together"),
        ({"oidc_issuer": "https://a.org", "oidc_audience": "x"}, "no effect without IPLAB_AUTH=1"),
        ({"oidc_issuer": "http://a.org", "oidc_audience": "x", "auth": True}, "must be https"),
        ({"health_address": "nowhere"}, "is not HOST:PORT"),
    ],
)
def test_wrong_settings_of_identity(given, said):
    with pytest.raises(StartupError, match=said):
        load_settings(**given)

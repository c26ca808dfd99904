"""What other users of the machine can reach."""

import os
import socket
import subprocess
import sys

import pytest
import trustme

from ipserver.environment.settings import load_settings
from ipserver.ops.doctor import Level, examination, examine
from ipserver.ops.privacy import exposed, open_ports, processes_in, readable_secrets, tighten
from ipserver.ops.startup import prepare_home
from tests.ipserver.tls import write_certificate


def mode(path):
    return path.stat().st_mode & 0o777


def run(home, *arguments):
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "IPLAB_HOME": str(home)}
    command = [sys.executable, "-m", "ipserver", *arguments]
    subprocess.run(command, env=environment, umask=0o022, check=True, capture_output=True, timeout=300)


def test_what_the_service_writes_is_its_users_alone(tmp_path):
    home = tmp_path / "home"
    run(home, "migrate")
    files = [path for path in home.rglob("*") if path.is_file()]
    assert (home / "iplab.db") in files
    assert {mode(home)} | {mode(path) for path in files} == {0o700, 0o600}
    assert exposed(home) == []


def test_a_home_of_before_is_closed_and_other_folders_stay_as_they_are(tmp_path):
    home, other = tmp_path / "home", tmp_path / "other"
    for folder, name in ((home, "iplab.db"), (other, "notes")):
        folder.mkdir()
        (folder / name).touch()
        (folder / name).chmod(0o644)
        folder.chmod(0o755)
    assert exposed(home) == [f"{home} (mode 755)", f"{home / 'iplab.db'} (mode 644)"]
    tighten(home)
    tighten(other)
    assert (mode(home), mode(home / "iplab.db"), exposed(home)) == (0o700, 0o600, [])
    assert (mode(other), mode(other / "notes")) == (0o755, 0o644)


def test_a_new_home_is_closed(tmp_path):
    prepare_home(load_settings(home=tmp_path / "home"))
    assert mode(tmp_path / "home") == 0o700


def test_secrets_that_others_can_read_are_named(tmp_path):
    secret = tmp_path / "key"
    secret.touch()
    secret.chmod(0o644)
    closed = any(not folder.stat().st_mode & 0o001 for folder in secret.resolve().parents)
    assert readable_secrets([secret]) == ([] if closed else [f"{secret} (mode 644)"])
    secret.chmod(0o600)
    assert readable_secrets([secret, tmp_path / "none"]) == []


@pytest.mark.parametrize(("host", "open_"), [("127.0.0.1", False), ("0.0.0.0", True), ("::", True)])
def test_ports_beyond_loopback_are_found(tmp_path, host, open_):
    code = (
        "import socket, sys\n"
        "family = socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET\n"
        "listener = socket.create_server((sys.argv[2], 0), family=family)\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    if host == "::" and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    command = [sys.executable, "-c", code, str(tmp_path), host]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        port = process.stdout.readline().strip()
        assert processes_in(tmp_path) == {process.pid}
        found = open_ports(processes_in(tmp_path))
        process.stdin.close()
    assert [one.rpartition(":")[2] for one in found] == ([port] if open_ else [])


def findings(settings, check, **options):
    return [(one.level, one.text) for one in examine(settings, **options) if one.check == check]


def test_the_doctor_names_an_open_home_and_an_old_certificate(tmp_path, monkeypatch):
    monkeypatch.setattr(examination, "running_service", lambda settings: None)
    home, tls = tmp_path / "home", tmp_path / "tls"
    home.mkdir(0o755)
    home.chmod(0o755)
    write_certificate(trustme.CA(), tls)
    settings = load_settings(home=home, tls=tls, auth=True)
    assert (Level.WRONG, f"other users can reach {home} (mode 755); chmod go= it") in findings(
        settings, "privacy"
    )
    home.chmod(0o700)
    (tls / "tls.key").chmod(0o600)
    assert [level for level, _ in findings(settings, "privacy")] == [Level.OK]
    ((level, text),) = findings(settings, "tls")
    assert level is Level.OK
    assert "expires on" in text
    ((level, text),) = findings(settings, "tls", clock=lambda: 1e11)
    assert level is Level.WRONG
    assert "no restart is needed" in text

"""The command line: the settings that it passes on, and its output."""

import errno
import fcntl
import getpass
import json
import logging
import os
import pwd
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipserver.cli import _quiet, main
from ipserver.ops.doctor import examine
from ipserver.store import open_store
from tests.ipserver.support import settings_in

UNSHARE = ["unshare", "--pid", "--fork", "--kill-child"]


def _namespaces() -> bool:
    """Whether this machine allows process namespaces."""
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode
    )


def test_mlflow_gets_its_uri_where_other_users_cannot_read_it(monkeypatch, tmp_path):
    uri = "postgresql://lab:se/cr@et@db/mlflow"
    started = []
    monkeypatch.setattr(os, "execve", lambda *call: started.append(call))

    environment = {"IPLAB_MLFLOW_TRACKING_URI": uri, "IPLAB_HOME": str(tmp_path)}
    shown = CliRunner().invoke(main, ["mlflow", "--port", "5001"], env=environment, catch_exceptions=False)

    ((_, command, environment),) = started
    assert command[1:4] == ["-m", "mlflow", "server"]
    assert environment["MLFLOW_BACKEND_STORE_URI"] == uri
    assert not any("se/cr" in word for word in command)
    where, hint, over = shown.output.splitlines()
    assert where == "MLflow on http://127.0.0.1:5001/#/experiments"
    assert '"Model training"' in hint
    assert over.endswith("postgresql://lab:***@db/mlflow")


def test_mlflow_looks_for_no_module_in_the_working_folder(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(os, "execve", lambda *call: started.append(call))

    environment = {"IPLAB_MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "IPLAB_HOME": str(tmp_path)}
    CliRunner().invoke(main, ["mlflow", "--port", "5001"], env=environment, catch_exceptions=False)

    ((_, command, environment),) = started
    assert environment["PYTHONSAFEPATH"] == "1"
    assert command[command.index("--uvicorn-opts") + 1] == f"--app-dir {sys.prefix}"
    assert not list(Path(sys.prefix).glob("*.py"))


def test_a_user_without_a_name_gets_one_and_a_home_folder(monkeypatch, tmp_path):
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    seen = []
    monkeypatch.setattr("ipserver.ops.up.up", lambda settings: seen.append((Path.home(), getpass.getuser())))

    CliRunner().invoke(main, ["up", "--home", str(tmp_path)], catch_exceptions=False)

    assert seen == [(tmp_path, f"uid-{os.getuid()}")]


def test_where_no_temporary_folder_can_be_written_one_is_in_the_home(monkeypatch, tmp_path):
    """As in a container with a read-only root, where only the home folder is mounted."""

    def nowhere():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    monkeypatch.setenv("TMPDIR", "/nowhere")
    seen = []
    monkeypatch.setattr("ipserver.ops.up.up", lambda settings: seen.append(os.environ["TMPDIR"]))

    CliRunner().invoke(main, ["up", "--home", str(tmp_path / "home")], catch_exceptions=False)

    assert seen == [str(tmp_path / "home" / "tmp")]
    assert (tmp_path / "home" / "tmp").stat().st_mode & 0o777 == 0o700
    told = [finding.text for finding in examine(settings_in(tmp_path)) if finding.check == "space"]
    assert any("No usable temporary directory" in text and "set TMPDIR" in text for text in told)
    assert any(text.startswith("IPLAB_HOME: ") for text in told), "what else there is to say is said"


def test_a_low_limit_of_open_files_is_raised():
    """Each client of the API takes one."""
    program = (
        "import resource, ipserver.cli, ipserver.__main__\n"
        "ipserver.cli.main = lambda: print(*resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        "ipserver.__main__.main()"
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    for limits, left in (("-Sn 64", (enough, hard)), ("-Sn 64 && ulimit -Hn 128", (128, 128))):
        command = ["sh", "-c", f'ulimit {limits} && exec "$0" -c "$1"', sys.executable, program]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert tuple(map(int, done.stdout.split())) == left


def test_mlflow_of_a_home_without_a_store_is_refused(tmp_path):
    done = CliRunner().invoke(main, ["mlflow", "--home", str(tmp_path / "typo")])

    assert done.exit_code == 2
    assert f"there is no MLflow store in {tmp_path}/typo" in done.output
    assert not (tmp_path / "typo").exists()


def test_mlflow_on_a_port_in_use_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environment = {"IPLAB_MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
        done = CliRunner().invoke(main, ["mlflow", "--port", port], env=environment)

    assert done.exit_code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.output


def test_mlflow_reads_its_uri_from_that_variable():
    from mlflow.cli import server

    (option,) = [option for option in server.params if option.name == "backend_store_uri"]
    assert option.envvar == "MLFLOW_BACKEND_STORE_URI"


def test_migrate_says_which_store_it_has_migrated(tmp_path):
    done = CliRunner().invoke(main, ["migrate", "--home", str(tmp_path)], catch_exceptions=False)

    assert done.output == f"the schema of sqlite:///{tmp_path}/iplab.db is up to date\n"
    assert (tmp_path / "iplab.db").exists()


@pytest.mark.skipif(not _namespaces(), reason="no namespaces of processes here")
def test_the_first_process_of_a_container_ends_while_it_waits(tmp_path):
    environment = os.environ | {
        "IPLAB_HOME": str(tmp_path),
        "IPLAB_STORE": "postgresql+psycopg://lab@127.0.0.1:1/lab",
        "IPLAB_WAIT_SECONDS": "3600",
    }
    command = [*UNSHARE, sys.executable, "-m", "ipserver", "migrate"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert any("not ready" in line for line in process.stderr)
            (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(first), signal.SIGTERM)
            assert process.wait(timeout=120) == 0
        finally:
            process.kill()


def test_without_the_libraries_of_the_service_a_sentence_says_what_to_install():
    check = "from iplab.shadowing import require_installed as r; r('ipserver', ('json', 'no_such'), 'server')"
    done = subprocess.run([sys.executable, "-c", check], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the service's libraries are not installed" in done.stderr
    assert "Missing are:\n    no_such\n" in done.stderr
    assert max(map(len, done.stderr.splitlines())) <= 80
    assert "pip install 'iplab[server]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_fit_the_terminal_and_are_one_line_in_a_pipe(tmp_path):
    """Long sentences: a missing folder, an address beyond loopback."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    try:
        for arguments in (["--address", "10.0.0.1:50"], ["--data", "/nowhere"]):
            command = [sys.executable, "-m", "ipserver", "up", "--home", str(tmp_path), *arguments]
            shown = subprocess.run(command, check=False, stderr=theirs, env=environment)
            lines = os.read(ours, 100_000).decode().splitlines()
            assert shown.returncode == 2
            assert len(lines) > 1
            assert max(map(len, lines)) <= 80
            piped = CliRunner().invoke(main, command[3:])
            assert piped.exit_code == 2
            assert piped.stderr.count("\n") == 1
            assert piped.stderr.split() == " ".join(lines).split()
    finally:
        os.close(ours)
        os.close(theirs)


def test_options_may_stand_before_and_after_the_command(tmp_path):
    def settings(*arguments):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    after = settings("settings", "--home", str(tmp_path), "--json")
    assert after["IPLAB_HOME"] == str(tmp_path)
    assert settings("--home", str(tmp_path), "--json", "settings") == after
    refused = CliRunner().invoke(main, ["--json", "migrate"])
    assert refused.exit_code == 2
    assert "migrate has no option --json" in refused.output
    for name in main.commands:
        assert "--home" in CliRunner().invoke(main, [name, "-h"]).output


def _run(home, *arguments, code=0):
    done = CliRunner().invoke(main, [*arguments, "--home", str(home)], env={"IPLAB_HOME": ""})
    assert done.exit_code == code, done.output
    return done.output


def test_projects_and_tokens_from_the_command_line(tmp_path):
    _run(tmp_path, "migrate")
    _run(tmp_path, "project", "create", "lab")
    assert "there is a project 'lab' already" in _run(tmp_path, "project", "create", "lab", code=2)
    _run(tmp_path, "project", "grant", "lab", "alice", "writer")
    token = _run(tmp_path, "token", "create", "alice", "--note", "laptop").strip()
    (listed,) = json.loads(_run(tmp_path, "token", "list", "--json"))
    assert (listed["user"], listed["note"], listed["state"]) == ("alice", "laptop", "active")
    assert token.startswith(f"iplab_{listed['id']}_")
    assert token.split("_", 2)[2] not in json.dumps(listed)
    _run(tmp_path, "token", "revoke", listed["id"])
    assert "revoked" in _run(tmp_path, "token", "list")
    _run(tmp_path, "quota", "set", "lab", "live_experiments", "3", "--user", "alice")
    with open_store(f"sqlite:///{tmp_path}/iplab.db") as store:
        entries = store.audit_entries(limit=99)
    done = [(one.method, one.resource, one.project, one.code) for one in reversed(entries)]
    assert done == [
        ("ipserver project create", "projects/lab", "lab", "OK"),
        ("ipserver project create", "projects/lab", "lab", "ALREADY_EXISTS"),
        ("ipserver project grant writer", "projects/lab/users/alice", "lab", "OK"),
        ("ipserver token create", "users/alice", "", "OK"),
        ("ipserver token revoke", f"tokens/{listed['id']}", "", "OK"),
        ("ipserver quota set live_experiments 3", "projects/lab/users/alice", "lab", "OK"),
    ]
    assert {(one.user, one.peer) for one in entries} == {(f"os:{getpass.getuser()}", socket.gethostname())}
    assert token.split("_", 2)[2] not in repr(entries)
    assert json.loads(_run(tmp_path, "project", "list", "--json"))["grants"] == [
        {"project": "lab", "principal": "alice", "role": "writer"}
    ]
    assert "default" in _run(tmp_path, "project", "list")
    _run(tmp_path, "project", "deny", "lab", "alice")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("project", "grant", "nowhere", "alice", "reader"), "there is no project 'nowhere'"),
        (("project", "create", "No Id"), "is not an id"),
        (("project", "deny", "default", "alice"), "alice has no role in default"),
        (("token", "create", "alice\x1b[31m"), "is not a user"),
        (("token", "create", "group:all"), "is a group"),
        (("token", "revoke", "0" * 12), "there is no token"),
    ],
)
def test_wrong_accounts_are_named(tmp_path, arguments, said):
    _run(tmp_path, "migrate")
    assert said in _run(tmp_path, *arguments, code=2)


def test_a_report_is_not_mixed_with_lines_of_the_log(caplog):
    log = logging.getLogger("ipserver.test")
    with _quiet():
        log.warning("not now")
        log.error("this must be seen")
    log.warning("again")
    assert caplog.messages == ["this must be seen", "again"]

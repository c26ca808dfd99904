"""Options and settings, the user and the temporary folder of a command, and how errors are shown."""

import errno
import fcntl
import getpass
import json
import os
import pwd
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipserver.cli import main
from ipserver.ops.doctor import examine
from tests.ipserver.support import settings_in

UNSHARE = ["unshare", "--pid", "--fork", "--kill-child"]


def _namespaces() -> bool:
    """Whether this machine allows process namespaces."""
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode
    )


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

"""The systemd unit: systemd's own check, and its assumptions about the service."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ipserver.environment.settings import Settings
from ipserver.ops import processes
from tests.deploy.manifests import DEPLOY

UNIT = DEPLOY / "systemd" / "iplab.service"
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not here (Debian: systemd)"
)


@pytest.fixture
def unit():
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    return parser


@pytest.fixture
def installed(unit, tmp_path):
    """The unit with the command of this installation."""
    command = unit["Service"]["ExecStart"].split()[0]
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace(command, str(Path(sys.executable).with_name("ipserver"))))
    return path


@needs_systemd
def test_systemd_finds_nothing_wrong(installed):
    done = subprocess.run(
        ["systemd-analyze", "verify", installed], check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_it_is_hardened(installed):
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=40", "--no-pager", installed]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


def test_it_names_settings_that_there_are_and_the_folder_that_systemd_makes(unit):
    service = unit["Service"]
    variables = dict(word.split("=", 1) for word in service["Environment"].split())
    names = {name.removeprefix("IPLAB_").lower() for name in variables if name.startswith("IPLAB_")}
    assert names <= set(Settings.model_fields)
    assert variables["IPLAB_HOME"] == f"%S/{service['StateDirectory']}"
    assert service["ExecStart"].split()[1:] == ["up"]


def test_a_stop_takes_no_longer_than_systemd_waits(unit):
    assert int(unit["Service"]["TimeoutStopSec"]) > sum(processes._STOP_SECONDS.values()) + 10
    assert unit["Service"]["KillMode"] == "mixed"
    # If the kernel kills one worker, the service must continue.
    assert unit["Service"]["OOMPolicy"] == "continue"

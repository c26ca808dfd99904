"""Tools beside a service: migrate, mlflow, and how reports are printed."""

import logging
import os
import socket
import sys
from pathlib import Path

from click.testing import CliRunner

from ipserver.cli import main
from ipserver.cli.tools import _quiet


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


def test_a_report_is_not_mixed_with_lines_of_the_log(caplog):
    log = logging.getLogger("ipserver.test")
    with _quiet():
        log.warning("not now")
        log.error("this must be seen")
    log.warning("again")
    assert caplog.messages == ["this must be seen", "again"]

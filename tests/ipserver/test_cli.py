"""The command line: what it hands on and what it shows."""

import os

from click.testing import CliRunner

from ipserver.cli import main


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
    assert shown.output == "MLflow on http://127.0.0.1:5001 over postgresql://lab:***@db/mlflow\n"


def test_mlflow_reads_its_uri_from_that_variable():
    from mlflow.cli import server

    (option,) = [option for option in server.params if option.name == "backend_store_uri"]
    assert option.envvar == "MLFLOW_BACKEND_STORE_URI"

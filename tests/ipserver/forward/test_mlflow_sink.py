"""MLflow as a sink: its caches, its files, a tracking server."""

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow.tracking import MlflowClient

from ipserver.forward.mlflow_sink import MlflowSink
from tests.ipserver.forward.cases import a_sink
from tests.ipserver.support import settings_in


def test_what_the_sink_remembers_is_bounded(settings, monkeypatch):
    monkeypatch.setattr("ipserver.forward.mlflow_sink._KNOWN_EXPERIMENTS", 3)
    monkeypatch.setattr("ipserver.forward.mlflow_sink._KNOWN_RUNS", 3)
    monkeypatch.setattr("ipserver.forward.mlflow_sink._KNOWN_FOLDERS", 3)
    sink = a_sink(settings)
    names = [(f"e{i}", f"experiments/e{i}/runs/r{j}") for i in range(6) for j in range(2)]

    first = [sink.run(experiment, name, 0, {}) for experiment, name in names]

    assert list(sink._experiments) == ["e4", "e5"]
    assert len(sink._folders) == 3
    monkeypatch.setattr("ipserver.forward.mlflow_sink._KNOWN_RUNS", 100)
    again = [sink.run(experiment, name, 0, {}) for experiment, name in names]
    assert list(sink._experiments) == ["e3", "e4", "e5"]
    assert [new for _, new in first] == [True] * 12
    assert again == [(run, False) for run, _ in first]


def test_a_file_published_twice_leaves_nothing_beside_it(settings, mlflow, tmp_path):
    sink = a_sink(settings)
    run, _ = sink.run("e", "experiments/e/runs/r00000", 0, {})
    (tmp_path / "file").write_text("weights")

    for _ in range(2):
        sink.publish(run, tmp_path / "file", "weights/final.safetensors")

    files = [file.path for file in mlflow.list_artifacts(run, "weights")]
    assert files == ["weights/final.safetensors"]


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_mlflow):
    """A real MLflow server, as threads, over a database of its own; yields its address and settings."""
    import mlflow.server.handlers  # takes a second, which here one worker spends
    from werkzeug.serving import make_server

    settings = settings_in(tmp_path_factory.mktemp("server"))
    (settings.home / "mlflow").mkdir()
    shutil.copy(empty_mlflow, settings.home / "mlflow" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(mlflow.server.BACKEND_STORE_URI_ENV_VAR, settings.mlflow_uri)
        patch.setattr(mlflow.server.handlers, "_tracking_store", None)
        server = make_server("127.0.0.1", 0, mlflow.server.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", settings
        server.shutdown()
        thread.join()
        server.server_close()


def test_nothing_is_printed_for_a_run_that_ends_on_a_server(server, capsys):
    """By default MLflow's client prints each run's address twice, into the forwarder's log."""
    uri, settings = server
    sink = MlflowSink(uri, settings.mlflow_artifacts)
    run, _ = sink.run("e", "experiments/e/runs/r00000", 1000, {})
    sink.finish(run, "FINISHED", 2000)

    assert MlflowClient(tracking_uri=uri).get_run(run).info.status == "FINISHED"
    assert capsys.readouterr().out == ""


def test_runs_that_bring_their_experiment_the_same_new_dataset_at_once_are_all_taken(server):
    uri, settings = server
    sink = MlflowSink(uri, settings.mlflow_artifacts)
    runs = [sink.run("together", f"experiments/together/runs/r0000{i}", 1000, {})[0] for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: sink.log_dataset(run, "together", "digits", "abc"), runs))

    client = MlflowClient(tracking_uri=uri)
    assert [len(client.get_run(run).inputs.dataset_inputs) for run in runs] == [1] * 8


TELEMETRY = """
import importlib, os
from ipserver.forward import mlflow_sink
from mlflow.telemetry.utils import is_telemetry_disabled
print(is_telemetry_disabled())
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "false"
importlib.reload(mlflow_sink)  # as if it had been set before
print(is_telemetry_disabled())
"""


def test_nothing_is_reported_to_the_makers_of_mlflow_unless_asked_for():
    # In a separate process, since MLflow sends no telemetry from tests.
    command, environment = [sys.executable, "-c", TELEMETRY], {"PATH": os.environ["PATH"]}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split()[-2:] == ["True", "False"]


def test_a_second_run_that_mlflow_does_not_delete_is_named_in_the_log(settings, caplog):
    """An error here would end the forwarder, whose other runs are well."""
    a_sink(settings).discard("0123abcd")
    assert "run 0123abcd in MLflow is a second one of its name and could not be deleted: " in caplog.text

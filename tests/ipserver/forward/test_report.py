"""The report of an experiment in a real MLflow: it comes with the run that completes the experiment."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from ipserver.forward import forwarder as module
from ipserver.forward.delivery import report_name
from ipserver.forward.forwarder import Forwarder, Pass
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.forward.report import report_files
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import open_store
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.support import settings_in, small_spec, store_in, submit

COORDINATES = {"probes": {"quantities": ["coordinates"], "steps": [0, 1]}}
WIDTHS = {"widths": [8, 16, 32], "seeds": [0, 1, 2]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, empty_mlflow):
    """A home with two trained experiments: one that measures something, one that does not."""
    home = tmp_path_factory.mktemp("home")
    settings = settings_in(home)
    with store_in(settings) as store:
        submit(store, small_spec(steps=2, grid=WIDTHS, record=COORDINATES), "measured")
        submit(store, small_spec(steps=2), "plain")
        executor = LocalExecutor()
        dispatcher = Dispatcher(store, executor, settings, "d")
        while not store.idle():
            dispatcher.step()
        executor.close()
    (home / "mlflow").mkdir()
    shutil.copy(empty_mlflow, home / "mlflow" / "mlflow.db")
    return home


@pytest.fixture(scope="module")
def expected(trained):
    """The files of the report, which only reads the store."""
    with open_store(settings_in(trained).store_dsn) as store:
        return report_files(store, "measured")


@pytest.fixture
def settings(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "home")
    return settings_in(tmp_path / "home")


@pytest.fixture
def store(settings):
    with store_in(settings) as store:
        yield store


def forward(store, settings, passes=100):
    sink = MlflowSink(settings.mlflow_uri, settings.mlflow_artifacts)
    forwarder = Forwarder(store, sink, settings.artifact_root, "f")
    for _ in range(passes):
        if forwarder.step() is Pass.IDLE:
            break
    store.release_lease("forwarder", "f")


def report_runs(settings, experiment):
    mlflow = MlflowClient(tracking_uri=settings.mlflow_uri)
    found = mlflow.search_runs([mlflow.get_experiment_by_name(experiment).experiment_id])
    return [run for run in found if run.data.tags["iplab.run"] == report_name(experiment)]


def artifacts(settings, experiment):
    (run,) = report_runs(settings, experiment)
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_report_and_figures_are_artifacts_of_the_experiment(store, settings, expected):
    forward(store, settings)

    assert store.get_experiment("measured").mlflow_pending_runs == 0
    (run,) = report_runs(settings, "measured")
    assert (run.info.run_name, run.info.status) == ("report", "FINISHED")
    files = artifacts(settings, "measured")
    assert files == expected
    report = json.loads(files["report.json"])
    assert {check["kind"] for check in report["checks"]} >= {"COORDINATE"}
    assert "mup (2 hidden layers, relu" in files["answers.txt"].decode()
    assert files["figures/coordinates.svg"].startswith(b"<?xml")
    rows = list(csv.DictReader(io.StringIO(files["figures/coordinates.csv"].decode())))
    assert {row["width"] for row in rows if row.get("width")} >= {"8", "16", "32"}
    assert report_runs(settings, "plain") == [], "nothing was measured that theory speaks of"


def test_it_comes_last_and_a_crash_before_the_mark_brings_it_once_more(
    store, settings, expected, monkeypatch
):
    class Killed(BaseException):
        pass

    def killed(sent):
        raise Killed

    monkeypatch.setattr(store, "mark_forwarded", killed)
    with pytest.raises(Killed):
        forward(store, settings)
    monkeypatch.undo()
    forward(store, settings)
    assert len(report_runs(settings, "measured")) == 1
    assert artifacts(settings, "measured") == expected


def test_a_defect_in_the_report_holds_up_no_run(store, settings, monkeypatch, caplog):
    def broken(store, experiment):
        raise ZeroDivisionError

    monkeypatch.setattr(module, "report_files", broken)
    forward(store, settings)
    assert store.get_experiment("measured").mlflow_pending_runs == 0
    assert "MLflow gets no report of measured" in caplog.text


def test_a_run_that_is_refused_keeps_the_report_back(store, settings, monkeypatch):
    send = MlflowSink.send

    def refusing(self, run_id, params, *others):
        if params.get("width") == "8" and params.get("seed") == "0":
            raise OSError("no")
        return send(self, run_id, params, *others)

    monkeypatch.setattr(MlflowSink, "send", refusing)
    forward(store, settings, passes=5)
    assert store.get_experiment("measured").mlflow_pending_runs > 0
    assert report_runs(settings, "measured") == []
    monkeypatch.undo()
    forward(store, settings)
    assert len(report_runs(settings, "measured")) == 1

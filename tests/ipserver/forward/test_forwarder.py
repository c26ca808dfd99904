"""The forwarder against a real MLflow on SQLite: everything arrives, once, and an outage loses nothing."""

import shutil
from dataclasses import replace

import pytest
from mlflow.tracking import MlflowClient

from ipserver.dispatch.dispatcher import Dispatcher
from ipserver.dispatch.local_executor import LocalExecutor
from ipserver.forward.forwarder import Forwarder, Pass
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.store.records import ForwardTask
from tests.ipserver.support import settings_in, small_spec, store_in, submit


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory):
    """MLflow's database with its schema, made once: that takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def settings(tmp_path, empty_mlflow):
    settings = settings_in(tmp_path)
    (tmp_path / "mlflow").mkdir()
    shutil.copy(empty_mlflow, tmp_path / "mlflow" / "mlflow.db")
    return settings


@pytest.fixture
def store(settings):
    return store_in(settings)


@pytest.fixture
def mlflow(settings):
    return MlflowClient(tracking_uri=settings.mlflow_uri)


def train(store, settings, passes=2000):
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, settings, "d")
    for _ in range(passes):
        if store.get_experiment("e").state.terminal:
            break
        dispatcher.step()
    executor.close()


def a_forwarder(store, settings, owner="f"):
    sink = MlflowSink(settings.mlflow_uri, settings.mlflow_artifacts)
    return Forwarder(store, sink, settings.artifact_root, owner)


def forward_all(store, settings, owner="f"):
    forwarder = a_forwarder(store, settings, owner)
    while forwarder.step() is Pass.BUSY:
        pass
    store.release_lease("forwarder", owner)


def mlflow_runs(mlflow):
    experiment = mlflow.get_experiment_by_name("e")
    runs = mlflow.search_runs([experiment.experiment_id], max_results=1000)
    return {run.data.tags["iplab.run"]: run for run in runs}


def test_an_experiment_arrives_in_full(store, settings, mlflow):
    submit(store, small_spec(), labels={"team": "theory"})
    train(store, settings)

    forward_all(store, settings)

    assert store.get_experiment("e").mlflow_pending_runs == 0
    runs = mlflow_runs(mlflow)
    assert sorted(runs) == [f"experiments/e/runs/r0000{i}" for i in range(4)]
    ours = store.get_run("e", 2)
    theirs = runs["experiments/e/runs/r00002"]
    assert theirs.info.run_id == ours.mlflow_run_id
    assert theirs.info.status == "FINISHED"
    assert theirs.data.params["parameterization"] == "ip-llr"
    assert theirs.data.params["c_from_step_0"] == "-3/2 -2 -3/2"
    assert theirs.data.params["c_from_step_1"] == "-1 -2 -1"
    assert theirs.data.params["width"] == "16"
    assert theirs.data.tags["iplab.pack"] == ours.pack
    assert theirs.data.tags["iplab.attempt"] == "1"
    assert theirs.data.tags["iplab.state"] == "SUCCEEDED"
    assert theirs.data.tags["iplab.spec_hash"] == store.get_experiment("e").spec_hash
    assert theirs.data.tags["team"] == "theory"
    assert theirs.data.tags["iplab.predicted_regime"] == "feature_learning"
    assert theirs.data.metrics["test_loss"] == ours.summary.final_test_loss
    history = mlflow.get_metric_history(theirs.info.run_id, "train_loss")
    assert [point.step for point in sorted(history, key=lambda point: point.step)] == [1, 10, 20]


def test_files_arrive_with_the_same_bytes_and_no_second_copy(store, settings, mlflow):
    submit(store, small_spec())
    train(store, settings)

    forward_all(store, settings)

    theirs = mlflow_runs(mlflow)["experiments/e/runs/r00001"]
    assert [file.path for file in mlflow.list_artifacts(theirs.info.run_id)] == ["spec.json", "weights"]
    published = (
        settings.mlflow_artifacts / "e" / theirs.info.run_id / "artifacts" / "weights" / "final.safetensors"
    )
    ours = settings.artifact_root / store.get_artifact("e", 1, "weights/final.safetensors").location
    assert published.samefile(ours)


def test_sending_everything_again_changes_nothing(store, settings, mlflow):
    submit(store, small_spec())
    train(store, settings)
    forward_all(store, settings)
    before = {name: run.info.run_id for name, run in mlflow_runs(mlflow).items()}

    # As if the forwarder had died each time before it marked what it had sent.
    forwarder = a_forwarder(store, settings, "g")
    for index in range(4):
        run = replace(store.get_run("e", index), mlflow_run_id="")
        forwarder._forward(ForwardTask(store.get_experiment("e"), run, 1, 0, frozenset()))

    runs = mlflow_runs(mlflow)
    assert {name: run.info.run_id for name, run in runs.items()} == before
    for run in runs.values():
        assert len(mlflow.get_metric_history(run.info.run_id, "train_loss")) == 3


@pytest.mark.parametrize(
    ("rate", "status", "state"), [(0.1, "KILLED", "CANCELLED"), (1e30, "FINISHED", "DIVERGED")]
)
def test_other_ends_have_their_status(store, settings, mlflow, rate, status, state):
    grid = {"parameterizations": [{"preset": "sp"}], "base_learning_rates": [rate], "seeds": [0]}
    submit(store, small_spec(grid=grid))
    if state == "CANCELLED":
        store.cancel_experiment("e")
    else:
        train(store, settings)

    forward_all(store, settings)

    run = mlflow_runs(mlflow)["experiments/e/runs/r00000"]
    assert run.info.status == status
    assert run.data.tags["iplab.state"] == state


def test_a_failed_run_is_failed(store, settings, mlflow, tmp_path):
    (tmp_path / "data").mkdir()
    submit(store, small_spec(dataset="mnist"))
    train(store, settings.model_copy(update={"data": tmp_path / "data"}))

    forward_all(store, settings)

    run = mlflow_runs(mlflow)["experiments/e/runs/r00000"]
    assert run.info.status == "FAILED"
    assert run.data.tags["iplab.failure"].startswith("DATA_UNAVAILABLE: ")


def test_only_one_forwarder_works_at_a_time(store, settings, mlflow):
    submit(store, small_spec())
    train(store, settings)
    first, second = (a_forwarder(store, settings, owner) for owner in ("f", "g"))

    assert first.step() is Pass.BUSY
    assert second.step() is Pass.IDLE

    store.release_lease("forwarder", "f")
    assert second.step() is Pass.IDLE  # nothing is left
    assert store.get_experiment("e").mlflow_pending_runs == 0


def test_an_outage_of_mlflow_loses_nothing(store, settings, mlflow):
    submit(store, small_spec())
    train(store, settings)
    database = settings.home / "mlflow" / "mlflow.db"
    forwarder = a_forwarder(store, settings)
    database.rename(database.with_suffix(".away"))
    database.mkdir()

    assert forwarder.step() is Pass.TROUBLE
    assert store.get_experiment("e").mlflow_pending_runs == 4

    database.rmdir()
    database.with_suffix(".away").rename(database)
    store.release_lease("forwarder", "f")
    forward_all(store, settings, "g")
    assert store.get_experiment("e").mlflow_pending_runs == 0
    assert len(mlflow_runs(mlflow)) == 4


def test_a_run_that_mlflow_refuses_does_not_hold_up_the_others(store, settings, mlflow):
    submit(store, small_spec())
    train(store, settings)
    artifact = store.get_artifact("e", 0, "weights/final.safetensors")
    path = settings.artifact_root / artifact.location
    hidden = path.rename(path.with_suffix(".hidden"))
    forwarder = a_forwarder(store, settings)

    outcomes = [forwarder.step(), forwarder.step(), forwarder.step()]

    assert Pass.TROUBLE in outcomes
    assert store.get_experiment("e").mlflow_pending_runs == 1
    hidden.rename(path)
    store.release_lease("forwarder", "f")
    forward_all(store, settings, "g")
    assert store.get_experiment("e").mlflow_pending_runs == 0

"""Data of runs arrive in a real MLflow on SQLite in full and once."""

from dataclasses import replace

import pytest

from ipserver.forward.history import History
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import segments
from ipserver.store.records.forwarding import ForwardTask
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.forward.cases import a_forwarder, forward_all, mlflow_runs, pending, train
from tests.ipserver.support import settings_in, small_spec, submit


def test_sketches_of_outputs_stay_in_the_store(store, settings, mlflow):
    submit(store, small_spec(record={"probes": {"quantities": ["outputs"], "steps": [1]}}))
    train(store, settings)
    blocks = store.segments("e", packs=None, first_step=0, last_step=None)
    assert any("output_sketch/128" in segments.decode(block.data).metrics for block in blocks)
    forward_all(store, settings)
    for run in mlflow_runs(mlflow).values():
        assert "test_loss" in run.data.metrics
        assert not any("sketch" in name for name in run.data.metrics)


def test_an_experiment_arrives_in_full(store, settings, mlflow):
    submit(store, small_spec(), labels={"team": "theory"})
    train(store, settings)

    forward_all(store, settings)

    assert mlflow.get_experiment_by_name("e").tags["team"] == "theory"
    assert mlflow.get_experiment_by_name("e").tags["iplab.uid"] == store.get_experiment("e").uid
    assert mlflow.get_experiment_by_name("e").tags["mlflow.experimentKind"] == "custom_model_development"
    assert (
        mlflow.get_experiment_by_name("e").tags["iplab.display_name"]
        == store.get_experiment("e").display_name
    )
    assert store.get_experiment("e").mlflow_pending_runs == 0
    runs = mlflow_runs(mlflow)
    assert sorted(runs) == [f"experiments/e/runs/r0000{i}" for i in range(4)]
    ours = store.get_run("e", 2)
    theirs = runs["experiments/e/runs/r00002"]
    assert theirs.info.run_id == ours.mlflow_run_id
    assert theirs.info.status == "FINISHED"
    assert theirs.info.run_name.startswith("ip-llr m=16 seed=")
    assert theirs.info.run_name.endswith(
        f"eta={ours.base_learning_rate:g} {ours.activation} L={ours.hidden_layers}"
    )
    (used,) = theirs.inputs.dataset_inputs
    assert used.dataset.name == "digits"
    assert len(used.dataset.digest) == 16
    assert theirs.data.metrics["diverged"] == 0
    assert theirs.data.params["parameterization"] == "ip-llr"
    assert theirs.data.params["preset"] == "ip-llr"
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


def test_what_was_best_by_validation_arrives_at_its_step(store, settings, mlflow):
    submit(store, small_spec(validation_size=100, evaluation_interval=5))
    train(store, settings)

    forward_all(store, settings)

    for name, theirs in mlflow_runs(mlflow).items():
        ours = store.get_run("e", int(name[-5:])).summary
        history = mlflow.get_metric_history(theirs.info.run_id, "test_accuracy_at_best_validation")
        points = [(point.step, point.value) for point in history]
        assert points == [(ours.best_validation_step, ours.test_accuracy_at_best_validation)]
        assert theirs.data.metrics["best_validation_accuracy"] == ours.best_validation_accuracy
        assert theirs.data.params["validation_size"] == "100"


def test_probes_arrive_under_their_names(store, settings, mlflow):
    probes = {"quantities": ["coordinates", "ranks"], "layers": [2], "steps": [0, 1, 20], "examples": 16}
    submit(store, small_spec(record={"probes": probes}))
    train(store, settings)
    forward_all(store, settings)
    run = mlflow_runs(mlflow)["experiments/e/runs/r00001"]
    ours = {}
    for segment in store.segments("e", packs=None, first_step=0, last_step=None):
        block = segments.decode(segment.data)
        for i in (block.run == 1).nonzero()[0]:
            ours.setdefault(block.metrics[block.metric[i]], []).append((int(block.step[i]), block.value[i]))
    assert {name for name in ours if "/" in name} == {
        *("h/2", "x/2", "h_change/2", "x_change/2", "change_below/2", "change_own/2"),
        *(
            f"{of}_{rank}_rank/2"
            for of in ("x", "update")
            for rank in ("squared_trace", "stable", "threshold")
        ),
    }
    assert [step for step, _ in ours["h_change/2"]] == [0, 1, 20]
    for name, points in ours.items():
        history = mlflow.get_metric_history(run.info.run_id, name)
        assert sorted((point.step, point.value) for point in history) == points


def test_files_arrive_with_the_same_bytes_and_no_second_copy(store, settings, mlflow):
    submit(store, small_spec())
    train(store, settings)

    forward_all(store, settings)

    theirs = mlflow_runs(mlflow)["experiments/e/runs/r00001"]
    assert [file.path for file in mlflow.list_artifacts(theirs.info.run_id)] == ["spec.json", "weights"]
    published = (
        settings.mlflow_artifacts / "e" / theirs.info.run_id / "artifacts" / "weights" / "final.safetensors"
    )
    ours = settings.artifact_root.folder / store.get_artifact("e", 1, "weights/final.safetensors").location
    assert published.samefile(ours)


def test_sending_everything_again_changes_nothing(store, settings, mlflow):
    submit(store, small_spec())
    train(store, settings)
    forward_all(store, settings)
    before = {name: run.info.run_id for name, run in mlflow_runs(mlflow).items()}

    # As if the forwarder had died each time between sending and marking.
    forwarder = a_forwarder(store, settings, "g")
    for index in range(4):
        run = replace(store.get_run("e", index), mlflow_run_id="")
        task = ForwardTask(store.get_experiment("e"), run, 1, 0, tuple(store.artifacts("e", index)))
        sending = forwarder._start(task, History(store), {})
        assert sending.result().mlflow_run_id == store.get_run("e", index).mlflow_run_id

    runs = mlflow_runs(mlflow)
    assert {name: run.info.run_id for name, run in runs.items()} == before
    for run in runs.values():
        assert len(mlflow.get_metric_history(run.info.run_id, "train_loss")) == 3


@pytest.mark.parametrize(
    ("rate", "status", "state"), [(0.1, "KILLED", "CANCELLED"), (1e30, "FAILED", "DIVERGED")]
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
    # At a glance: in the list of names, and as a column to sort by.
    diverged = state == "DIVERGED"
    assert run.info.run_name.startswith("✗ sp m=16 seed=0 ") is diverged
    note = f"Diverged: its loss was not finite at step {store.get_run('e', 0).summary.diverged_step}."
    assert run.data.tags.get("mlflow.note.content") == (note if diverged else None)
    assert run.data.metrics.get("diverged") == (1 if diverged else None)


def test_calibrated_rates_and_datasets_are_said_once_however_often_they_are_sent(store, settings, mlflow):
    calibrated = {"label": "llr", "preset": "ip-llr", "calibration": {}}
    submit(store, small_spec(grid={"parameterizations": [calibrated], "seeds": [0]}))
    train(store, settings)
    forward_all(store, settings)
    forward_all(store, settings)

    ours = store.get_run("e", 0)
    run = mlflow_runs(mlflow)["experiments/e/runs/r00000"]
    rates = [float(rate) for rate in run.data.params["calibrated_rates"].split()]
    assert rates == pytest.approx(ours.calibrated_rates, rel=1e-5)
    sink = MlflowSink(settings.mlflow_uri, settings.mlflow_artifacts)
    sink.log_dataset(run.info.run_id, "e", "digits", run.inputs.dataset_inputs[0].dataset.digest)
    assert len(mlflow.get_run(run.info.run_id).inputs.dataset_inputs) == 1


def test_a_failed_run_is_failed(store, settings, mlflow, tmp_path):
    (tmp_path / "data").mkdir()
    submit(store, small_spec(dataset="mnist"))
    train(store, settings.model_copy(update={"data": tmp_path / "data"}))

    forward_all(store, settings)

    run = mlflow_runs(mlflow)["experiments/e/runs/r00000"]
    assert run.info.status == "FAILED"
    assert run.data.tags["iplab.failure"].startswith("DATA_UNAVAILABLE: ")


def test_a_retried_run_goes_on_in_its_mlflow_run(tmp_path, store, settings, mlflow):
    """It was FAILED there, with its points; in the end it is FINISHED, and each point is there once."""
    submit(store, small_spec(validation_size=100, record={"metrics_interval": 1}))
    slow = settings_in(tmp_path, slice_seconds=1e-9)
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, slow, "d")
    while store.get_run("e", 0).committed_steps < 8:
        dispatcher.step()
    dispatcher.drain()
    executor.close()
    pack = store.lease_pack("e", "tester", 60.0)
    broke = Failure(FailureReason.TRAINING_ERROR, "it broke")
    store.end_attempt("e", pack.id, pack.token, failure=broke, retry=False)
    forward_all(store, settings)
    assert pending(store) == 0
    before = mlflow_runs(mlflow)
    assert {run.info.status for run in before.values()} == {"FAILED"}
    assert {run.data.tags["iplab.failure"] for run in before.values()} == {"TRAINING_ERROR: it broke"}

    store.retry_failed("e")
    assert pending(store) == 4
    train(store, settings)
    forward_all(store, settings)

    after = mlflow_runs(mlflow)
    assert pending(store) == 0
    for name, run in before.items():
        assert after[name].info.run_id == run.info.run_id
    for index in range(4):
        theirs = after[f"experiments/e/runs/r{index:05d}"]
        assert (theirs.info.status, theirs.data.tags["iplab.failure"]) == ("FINISHED", "")
        for metric in ("train_loss", "test_loss", "validation_loss", "best_validation_loss", "diverged"):
            steps = [point.step for point in mlflow.get_metric_history(theirs.info.run_id, metric)]
            assert steps == sorted(set(steps)), f"{metric} of run {index}: {steps}"
        assert [p.step for p in mlflow.get_metric_history(theirs.info.run_id, "train_loss")] == [
            *range(1, 21)
        ]

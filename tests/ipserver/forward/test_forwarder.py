"""The forwarder with a real MLflow on SQLite: everything arrives once, and outages lose nothing."""

import itertools
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from mlflow.tracking import MlflowClient

from ipserver.forward import history
from ipserver.forward.forwarder import Forwarder, Pass
from ipserver.forward.history import History
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import segments
from ipserver.store.records.forwarding import Forwarded, ForwardTask
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.support import settings_in, small_spec, store_in, submit
from tests.ports import free_port


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory):
    """MLflow's database with its schema, created once, since that takes seconds."""
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


def train(store, settings, passes=2000, experiment="e"):
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, settings, "d")
    for _ in range(passes):
        if store.get_experiment(experiment).state.terminal:
            break
        dispatcher.step()
    executor.close()


def a_sink(settings):
    return MlflowSink(settings.mlflow_uri, settings.mlflow_artifacts)


def a_forwarder(store, settings, owner="f", monotonic=time.monotonic):
    return Forwarder(store, a_sink(settings), settings.artifact_root, owner, monotonic)


def pending(store, experiment="e"):
    return store.get_experiment(experiment).mlflow_pending_runs


def submit_cancelled(store, experiment, seeds=2):
    """An experiment that ends at once: its runs wait for MLflow without training."""
    submit(store, small_spec(grid={"seeds": list(range(seeds))}), experiment)
    store.cancel_experiment(experiment)


class Clock:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def forward_all(store, settings, owner="f"):
    forwarder = a_forwarder(store, settings, owner)
    while forwarder.step() is Pass.BUSY:
        pass
    store.release_lease("forwarder", owner)


def mlflow_runs(mlflow):
    experiment = mlflow.get_experiment_by_name("e")
    runs = mlflow.search_runs([experiment.experiment_id], max_results=1000)
    return {run.data.tags["iplab.run"]: run for run in runs}


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


def test_only_one_forwarder_works_at_a_time(store, settings, mlflow):
    submit_cancelled(store, "e")
    assert store.acquire_lease("forwarder", "f", 30)
    second = a_forwarder(store, settings, "g")

    assert second.step() is Pass.IDLE
    assert pending(store) == 4
    assert mlflow.get_experiment_by_name("e") is None

    store.release_lease("forwarder", "f")
    assert second.step() is Pass.BUSY
    assert pending(store) == 0


def test_who_loses_the_lease_stops(store, settings, mlflow, monkeypatch):
    submit_cancelled(store, "e")
    clock = Clock()
    forwarder = a_forwarder(store, settings, "f", monotonic=clock)
    finish = forwarder._sink.finish

    def finish_and_lose_the_lease(*call):
        finish(*call)
        clock.time += 40
        store.release_lease("forwarder", "f")
        assert store.acquire_lease("forwarder", "g", 30)

    monkeypatch.setattr(forwarder._sink, "finish", finish_and_lose_the_lease)
    forwarder.step()

    assert pending(store) == 3
    assert forwarder.step() is Pass.IDLE


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
    path = settings.artifact_root.folder / artifact.location
    hidden = path.rename(path.with_suffix(".hidden"))
    clock = Clock()
    forwarder = a_forwarder(store, settings, monotonic=clock)

    assert forwarder.step() is Pass.BUSY
    assert pending(store) == 1
    assert forwarder.step() is Pass.IDLE  # it is delayed

    hidden.rename(path)
    clock.time = 30.0
    assert forwarder.step() is Pass.BUSY
    assert pending(store) == 0


def test_an_experiment_deleted_in_mlflow_does_not_hold_up_the_others(store, settings, mlflow):
    submit_cancelled(store, "deleted", seeds=30)  # 60 runs, more than one pass sends
    mlflow.delete_experiment(mlflow.create_experiment("deleted"))
    submit_cancelled(store, "e")
    submit_cancelled(store, "f")
    clock = Clock()
    forwarder = a_forwarder(store, settings, monotonic=clock)

    assert forwarder.step() is Pass.BUSY  # both are sent in one pass

    assert (pending(store), pending(store, "f")) == (0, 0)
    assert pending(store, "deleted") == 60
    assert forwarder.step() is Pass.IDLE


def test_what_mlflow_refuses_is_tried_less_and_less(store, settings, mlflow, monkeypatch):
    submit_cancelled(store, "deleted", seeds=30)
    mlflow.delete_experiment(mlflow.create_experiment("deleted"))
    clock = Clock()
    forwarder = a_forwarder(store, settings, monotonic=clock)
    tries = []
    run = forwarder._sink.run

    def noted(experiment, name, *rest, **more):
        tries.append((clock.time, name))
        return run(experiment, name, *rest, **more)

    monkeypatch.setattr(forwarder._sink, "run", noted)

    for second in range(200):
        clock.time = float(second)
        forwarder.step()

    assert Counter(at for at, _ in tries) == dict.fromkeys([0, 2, 6, 14, 30, 62, 122, 182], 3)
    assert len({name for _, name in tries[:12]}) == 12  # other runs each time: refused ones are delayed


def test_several_experiments_that_fail_are_an_outage(store, settings):
    submit_cancelled(store, "e", seeds=4)
    submit_cancelled(store, "f")
    clock = Clock()
    forwarder = a_forwarder(store, settings, monotonic=clock)
    database = settings.home / "mlflow" / "mlflow.db"
    away = database.rename(database.with_suffix(".away"))
    database.mkdir()

    assert forwarder.step() is Pass.TROUBLE
    database.rmdir()
    away.rename(database)
    clock.time = 30.0
    while forwarder.step() is Pass.BUSY:
        pass
    assert (pending(store), pending(store, "f")) == (0, 0)


def test_a_large_experiment_does_not_hold_up_the_end_of_a_small_one(store, settings, mlflow):
    submit_cancelled(store, "a-large-one", seeds=100)
    submit_cancelled(store, "small")

    a_forwarder(store, settings).step()

    assert pending(store, "small") == 0
    assert 150 <= pending(store, "a-large-one") < 200


def test_rests_do_not_grow_while_mlflow_takes_nothing(store, settings, monkeypatch):
    """After a long outage, runs that were tried during it are not sent last."""
    submit_cancelled(store, "e", seeds=10)
    clock = Clock()
    forwarder = a_forwarder(store, settings, monotonic=clock)
    create = forwarder._sink._client.create_run

    def refuse(*call, **more):
        raise ConnectionError("MLflow is away")

    monkeypatch.setattr(forwarder._sink._client, "create_run", refuse)
    for second in range(0, 3600, 20):
        clock.time = float(second)
        assert forwarder.step() is not Pass.BUSY
    monkeypatch.setattr(forwarder._sink._client, "create_run", create)

    for second in range(3600, 3700, 5):
        clock.time = float(second)
        forwarder.step()

    assert pending(store) == 0


def test_after_a_refusal_mlflow_is_asked_for_that_run_alone(store, settings, mlflow, monkeypatch):
    submit_cancelled(store, "e", seeds=10)
    clock = Clock()
    forwarder = a_forwarder(store, settings, monotonic=clock)
    client = forwarder._sink._client
    log_batch, search_runs = client.log_batch, client.search_runs
    asked = []

    def refuse_the_first(run_id, **batch):
        monkeypatch.setattr(client, "log_batch", log_batch)
        raise ConnectionError("refused")

    def search(*call, **more):
        asked.append(call)
        return search_runs(*call, **more)

    forwarder._sink.run("e", "experiments/e/runs/r99999", 1, {})  # it knows the experiment
    forwarder._sink._experiments["e"].created = mlflow.get_experiment_by_name("e").creation_time
    monkeypatch.setattr(client, "log_batch", refuse_the_first)
    monkeypatch.setattr(client, "search_runs", search)
    forwarder.step()
    assert (pending(store), asked) == (1, [])
    clock.time = 30.0
    forwarder.step()

    assert pending(store) == 0
    assert [where for _, where in asked] == ["tags.`iplab.run` = 'experiments/e/runs/r00000'"]
    assert len(mlflow_runs(mlflow)) == 21


def test_a_lost_answer_does_not_double_a_run(store, settings, mlflow, monkeypatch):
    submit_cancelled(store, "e")
    clock = Clock()
    forwarder = a_forwarder(store, settings, monotonic=clock)
    client = forwarder._sink._client
    create, created = client.create_run, []

    def create_and_lose_the_third_answer(*args, **kwargs):
        created.append(create(*args, **kwargs))
        if len(created) == 3:
            raise ConnectionError("the answer is lost")
        return created[-1]

    monkeypatch.setattr(client, "create_run", create_and_lose_the_third_answer)
    forwarder.step()
    clock.time = 30.0
    forwarder.step()

    assert pending(store) == 0
    experiment = mlflow.get_experiment_by_name("e").experiment_id
    tags = [run.data.tags["iplab.run"] for run in mlflow.search_runs([experiment])]
    assert sorted(tags) == [f"experiments/e/runs/r0000{i}" for i in range(4)]


def test_a_forwarder_that_was_stopped_leaves_no_second_run(store, settings, mlflow, monkeypatch):
    """A forwarder looks for a run in MLflow, stops while another sends everything, then creates the run."""
    submit(store, small_spec())
    train(store, settings)
    stopped = a_forwarder(store, settings, "f")
    create = stopped._sink._client.create_run

    def create_late(*args, **kwargs):
        monkeypatch.undo()
        store.release_lease("forwarder", "f")
        forward_all(store, settings, "g")
        return create(*args, **kwargs)

    monkeypatch.setattr(stopped._sink._client, "create_run", create_late)
    stopped.step()

    assert pending(store) == 0
    experiment = mlflow.get_experiment_by_name("e").experiment_id
    runs = mlflow.search_runs([experiment])
    noted = [store.get_run("e", index).mlflow_run_id for index in range(4)]
    assert sorted(run.info.run_id for run in runs) == sorted(noted)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all(len(mlflow.get_metric_history(run, "train_loss")) == 3 for run in noted)


def test_a_forwarder_that_was_stopped_for_too_long_sends_nothing_more(store, settings, mlflow):
    submit(store, small_spec())
    train(store, settings)
    clock = Clock()
    forwarder = a_forwarder(store, settings, "f", clock)
    publish_text = forwarder._sink.publish_text

    def publish_and_sleep(*call):
        publish_text(*call)
        store.release_lease("forwarder", "f")
        assert store.acquire_lease("forwarder", "g", 60)
        clock.time += 30

    forwarder._sink.publish_text = publish_and_sleep
    forwarder.step()

    # The first run was being sent; the forwarder with the lease sends the others.
    assert pending(store) == 3


def test_it_catches_up_in_order_and_at_a_bounded_rate(store, settings, mlflow, monkeypatch):
    """40 runs of 84 points at 1000 points per second: points beyond the first second's must wait."""
    submit(store, small_spec(grid={"seeds": list(range(20))}, steps=400))
    train(store, settings)
    clock, sent = Clock(), []

    def sleep(seconds):
        clock.time += seconds

    forwarder = Forwarder(
        store, a_sink(settings), settings.artifact_root, "f", clock, points_per_second=1000.0, sleep=sleep
    )
    client = forwarder._sink._client
    log_batch = client.log_batch

    def log(run_id, metrics, params, tags):
        sent.extend((clock.time, run_id, metric.key, metric.step) for metric in metrics)
        log_batch(run_id, metrics=metrics, params=params, tags=tags)

    monkeypatch.setattr(client, "log_batch", log)
    while forwarder.step() is Pass.BUSY:
        pass

    assert pending(store) == 0
    assert len(sent) > 3000
    for begin in range(int(sent[-1][0]) + 1):
        # At most one second's points at once, plus one run's, since runs are sent whole.
        assert sum(begin <= time < begin + 1 for time, *_ in sent) <= 2100
    assert sent[-1][0] >= (len(sent) - 1100) / 1000
    histories = {}
    for _, run, metric, step in sent:
        histories.setdefault((run, metric), []).append(step)
    assert all(steps == sorted(set(steps)) for steps in histories.values())
    # Runs are not mixed: each is sent at once, by pack, oldest first.
    order = [run for run, _ in itertools.groupby(run for _, run, _, _ in sent)]
    assert len(order) == len(set(order)) == 40


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


def test_a_pack_is_decoded_once_for_all_its_runs_and_only_what_is_new(store, settings, mlflow, monkeypatch):
    submit(store, small_spec(steps=40))
    train(store, settings.model_copy(update={"slice_seconds": 1e-9}))  # one update per slice
    (pack,) = {run.pack for run in store.list_runs("e", limit=10)}
    stored = list(store.segments("e", packs=[pack], first_step=0, last_step=None))
    assert len(stored) > 3
    sink = a_sink(settings)
    for index in range(4):
        run, _ = sink.run("e", f"experiments/e/runs/r0000{index}", 1, {})
        store.mark_forwarded([Forwarded("e", index, run, new=True, segment=stored[1].id)])
    decoded = []
    decode = segments.decode
    monkeypatch.setattr(segments, "decode", lambda data: decoded.append(data) or decode(data))

    forward_all(store, settings)

    assert pending(store) == 0
    assert decoded == [segment.data for segment in stored[2:]]


def test_a_long_history_arrives_in_portions_and_in_full(store, settings, mlflow, monkeypatch):
    submit(store, small_spec(steps=30))
    train(store, settings.model_copy(update={"slice_seconds": 1e-9}))  # one update per slice
    monkeypatch.setattr(history, "_SEGMENTS", 2)
    forwarder = a_forwarder(store, settings)

    forwarder.step()
    # Not finished, since their history is incomplete.
    assert {run.info.status for run in mlflow_runs(mlflow).values()} == {"RUNNING"}
    assert pending(store) == 4

    while forwarder.step() is Pass.BUSY:
        pass
    assert pending(store) == 0
    for run in mlflow_runs(mlflow).values():
        assert run.info.status == "FINISHED"
        steps = [point.step for point in mlflow.get_metric_history(run.info.run_id, "train_loss")]
        assert sorted(steps) == [1, 10, 20, 30]


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_mlflow):
    """A real MLflow server over a database of its own; yields its address and settings."""
    settings = settings_in(tmp_path_factory.mktemp("server"))
    (settings.home / "mlflow").mkdir()
    shutil.copy(empty_mlflow, settings.home / "mlflow" / "mlflow.db")
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
    command += ["--port", address.rpartition(":")[2], "--backend-store-uri", settings.mlflow_uri]
    with (settings.home / "mlflow.log").open("ab") as log:
        # As `ipserver mlflow` starts it; job execution would start several more processes.
        variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(command, cwd=settings.home, env=variables, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 180
            while not answers(f"http://{address}/health"):
                assert process.poll() is None, (settings.home / "mlflow.log").read_text()
                assert time.monotonic() < deadline, "MLflow does not answer"
                time.sleep(0.2)
            yield f"http://{address}", settings
        finally:
            process.terminate()
            process.wait(120)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return response.status == 200
    except OSError:
        return False


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

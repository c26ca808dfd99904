"""The dispatcher with real training in threads and a real store, from QUEUED to the end."""

import hashlib

from ipcore import Network, evaluate, load_dataset
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState, RunState
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import ended, points, run_until
from tests.ipserver.support import small_spec, submit


def test_an_experiment_trains_to_its_end(store, settings, executor):
    submit(store, small_spec(record={"weights": "initial_and_final"}))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    experiment = store.get_experiment("e")
    assert experiment.state is ExperimentState.SUCCEEDED
    assert experiment.committed_steps == 4 * 20
    for run in store.list_runs("e", limit=10):
        assert run.state is RunState.SUCCEEDED
        assert run.committed_steps == 20
        assert run.summary.final_test_accuracy is not None
        paths = [artifact.path for artifact in store.artifacts("e", run.index)]
        assert paths == ["weights/final.safetensors", "weights/initial.safetensors"]
    recorded = points(store)
    steps = sorted(step for run, metric, step in recorded if run == 0 and metric == "train_loss")
    assert steps == [1, 10, 20]
    assert {step for _, metric, step in recorded if metric == "test_loss"} == {0, 20}


def test_final_weights_give_the_recorded_metrics_exactly(store, settings, executor):
    submit(store, small_spec())
    run_until(Dispatcher(store, executor, settings, "d"), ended(store))
    test = load_dataset("digits").test

    for run in store.list_runs("e", limit=10):
        artifact = store.get_artifact("e", run.index, "weights/final.safetensors")
        path = settings.artifact_root.folder / artifact.location
        assert hashlib.sha256(path.read_bytes()).hexdigest() == artifact.sha256
        measured = evaluate(Network.load(path), test)
        assert measured.loss == run.summary.final_test_loss == points(store)[run.index, "test_loss", 20]
        assert measured.accuracy == run.summary.final_test_accuracy


def test_calibrated_rates_are_kept(store, settings, executor):
    grid = {"parameterizations": [{"preset": "ip-llr", "calibration": {}}, {"preset": "mup"}]}
    submit(store, small_spec(grid=grid))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    runs = store.list_runs("e", limit=10)
    assert [len(run.calibrated_rates) for run in runs] == [3, 3, 0, 0]
    assert all(run.calibrated_rates[0] == 0.1 for run in runs[:2])


def test_a_diverging_run_is_a_result(store, settings, executor):
    grid = {"parameterizations": [{"preset": "sp", "base_learning_rates": [0.1, 1e30]}], "seeds": [0]}
    submit(store, small_spec(grid=grid))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    good, bad = store.list_runs("e", limit=10)
    assert good.state is RunState.SUCCEEDED
    assert bad.state is RunState.DIVERGED
    assert bad.summary.diverged_step is not None
    assert bad.summary.diverged_step <= 5
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED


def test_a_pack_of_diverging_runs_ends_early(store, settings, executor):
    grid = {"parameterizations": [{"preset": "sp", "base_learning_rates": [1e30]}]}
    submit(store, small_spec(grid=grid, steps=100_000))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    assert store.get_experiment("e").counts[RunState.DIVERGED] == 2


def test_cancel_takes_effect_between_slices(store, settings, executor):
    submit(store, small_spec(steps=100_000))
    dispatcher = Dispatcher(store, executor, settings, "d")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)

    store.cancel_experiment("e")
    run_until(dispatcher, ended(store))

    assert store.get_experiment("e").state is ExperimentState.CANCELLED
    assert all(0 < run.committed_steps < 100_000 for run in store.list_runs("e", limit=10))


def test_one_run_of_a_pack_can_be_cancelled(store, settings, executor):
    submit(store, small_spec(steps=40))
    # A slice is one update, so the run is cancelled long before its end.
    slow = settings.model_copy(update={"slice_seconds": 1e-9})
    dispatcher = Dispatcher(store, executor, slow, "d")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)

    store.cancel_run("e", 2)
    run_until(dispatcher, ended(store))

    runs = store.list_runs("e", limit=10)
    expected = [RunState.SUCCEEDED, RunState.SUCCEEDED, RunState.CANCELLED, RunState.SUCCEEDED]
    assert [run.state for run in runs] == expected
    last = {run.index: max(step for index, _, step in points(store) if index == run.index) for run in runs}
    assert last[0] == 40
    assert last[2] <= runs[2].committed_steps < 40


def test_higher_priority_goes_first(store, settings):
    executor = LocalExecutor(cpus=1)
    submit(store, small_spec(), "low")
    submit(store, small_spec(), "high", priority=5)

    run_until(Dispatcher(store, executor, settings, "d"), ended(store, "low"))
    executor.close()

    high, low = store.get_experiment("high"), store.get_experiment("low")
    assert high.start_time < low.start_time
    assert high.end_time < low.end_time


def test_two_dispatchers_share_the_work_without_doubling_it(store, settings):
    executors = [LocalExecutor(cpus=1), LocalExecutor(cpus=1)]
    dispatchers = [Dispatcher(store, executor, settings, f"d{i}") for i, executor in enumerate(executors)]
    submit(store, small_spec(grid={"widths": [8, 16, 24], "activations": ["relu", "tanh"]}))
    for _ in range(2000):
        if ended(store)():
            break
        for dispatcher in dispatchers:
            dispatcher.step()
    for executor in executors:
        executor.close()

    assert store.get_experiment("e").counts[RunState.SUCCEEDED] == 24
    assert len({key for key in points(store) if key[1:] == ("train_loss", 20)}) == 24


def test_a_diverged_run_keeps_no_final_weights(store, settings, executor):
    grid = {"parameterizations": [{"preset": "sp", "base_learning_rates": [0.1, 1e30]}], "seeds": [0]}
    submit(store, small_spec(grid=grid, steps=5))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    assert [artifact.path for artifact in store.artifacts("e", 0)] == ["weights/final.safetensors"]
    assert store.get_run("e", 1).state is RunState.DIVERGED
    assert store.artifacts("e", 1) == []

"""Experiments on families and registered files, from QUEUED to the end, with real training in threads."""

import numpy as np
import pytest
import safetensors.numpy
import sqlalchemy as sa

from ipcore import Network, evaluate, load_dataset
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState, FailureReason, RunState
from ipserver.store.tables import experiments
from tests.ipserver.scheduling.cases import ended, run_until
from tests.ipserver.support import settings_in, small_spec, submit


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path, checkpoint_seconds=1e9, data=str(tmp_path / "data"))


def register(settings, seed=0):
    """40 training and 20 test inputs of dimension 6 in two classes, as "registered:mine"."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for part, n in (("train", 40), ("test", 20)):
        labels = np.arange(n) % 2
        arrays[f"{part}_labels"] = labels
        arrays[f"{part}_inputs"] = rng.standard_normal((n, 6)) + labels[:, None]
    folder = settings.data / "registered"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "mine.npz", **arrays)


def weights(store, settings, index=0):
    artifact = store.get_artifact("e", index, "weights/final.safetensors")
    return settings.artifact_root.folder / artifact.location


@pytest.mark.parametrize(
    ("dataset", "loss", "accuracy"),
    [
        ("parity:d=6,k=1,n=256,test=64", "logistic", True),
        ("single-index:d=6,n=256,test=64,link=relu", "mse", False),
        ("registered:mine", "cross_entropy", True),
    ],
)
def test_runs_train_and_their_weights_name_the_data(store, settings, executor, dataset, loss, accuracy):
    register(settings)
    submit(store, small_spec(dataset=dataset, loss=loss, batch_size=16))
    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    run = store.list_runs("e", limit=10)[0]
    assert (run.summary.final_test_accuracy is not None) == accuracy
    path = weights(store, settings)
    data = load_dataset(dataset, settings.data)
    network = Network.load(path)
    assert network.dataset == data.name
    assert evaluate(network, data.test).loss == run.summary.final_test_loss
    with safetensors.safe_open(path, framework="np") as file:
        assert file.metadata()["dataset_sha256"] == data.digest


def test_a_file_that_is_gone_when_packs_are_planned_fails_the_runs(store, settings, executor):
    submit(store, small_spec(dataset="registered:mine"))
    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    assert store.get_experiment("e").state is ExperimentState.FAILED
    failure = store.get_run("e", 3).failure
    assert failure.reason is FailureReason.DATA_UNAVAILABLE
    assert "holds no mine.npz or mine.safetensors" in failure.message


def test_a_file_replaced_between_attempts_fails_the_runs(store, settings, executor):
    register(settings)
    submit(store, small_spec(dataset="registered:mine", batch_size=16, steps=100_000))
    first = Dispatcher(store, executor, settings, "first")
    run_until(first, lambda: store.get_experiment("e").committed_steps > 0)
    first.drain()

    register(settings, seed=1)
    run_until(Dispatcher(store, executor, settings, "second"), ended(store))

    assert {run.state for run in store.list_runs("e", limit=10)} == {RunState.FAILED}
    failure = store.get_run("e", 0).failure
    assert failure.reason is FailureReason.DATA_UNAVAILABLE
    assert "has changed since" in failure.message


def test_a_file_replaced_before_the_first_checkpoint_is_noticed_too(store, settings, executor):
    """The digest is known from the first commit on, for all packs of the experiment."""
    register(settings)
    submit(store, small_spec(dataset="registered:mine", batch_size=16, steps=100_000))
    first = Dispatcher(store, executor, settings, "first")
    run_until(first, lambda: store.get_experiment("e").committed_steps > 0)
    store.end_attempt("e", "p0000", store.attempts("e", 0)[-1].token, failure=None, retry=True)
    assert store.get_experiment("e").dataset_sha256 == load_dataset("registered:mine", settings.data).digest

    register(settings, seed=1)
    run_until(Dispatcher(store, executor, settings, "second"), ended(store))

    failure = store.get_run("e", 0).failure
    assert (store.get_run("e", 0).state, failure.reason) == (RunState.FAILED, FailureReason.DATA_UNAVAILABLE)
    assert "has changed since the first steps were committed" in failure.message


def test_a_pack_that_read_the_file_after_it_was_replaced_fails(store, settings, executor):
    """Its steps are not committed together with those of a pack that read the dataset before."""
    register(settings)
    spec = small_spec(dataset="registered:mine", batch_size=16, steps=100_000, grid={"widths": [8, 16]})
    submit(store, spec)
    first = Dispatcher(store, executor, settings, "first")
    run_until(first, lambda: store.get_experiment("e").committed_steps > 0)
    with store.database.engine.begin() as connection:
        # As if the other pack had started first.
        connection.execute(sa.update(experiments).values(dataset_sha256="0" * 64))

    run_until(first, ended(store))

    assert {run.state for run in store.list_runs("e", limit=10)} == {RunState.FAILED}
    assert "the registered file has changed" in store.get_run("e", 0).failure.message


def test_a_file_replaced_between_experiments_is_read_again(store, settings, executor):
    digests = []
    for seed, name in enumerate("ab"):
        register(settings, seed)
        submit(store, small_spec(dataset="registered:mine", batch_size=16), experiment=name)
        dispatcher = Dispatcher(store, executor, settings, name)
        run_until(dispatcher, lambda name=name: store.get_experiment(name).state.terminal)
        artifact = store.get_artifact(name, 0, "weights/final.safetensors")
        with safetensors.safe_open(settings.artifact_root.folder / artifact.location, "np") as file:
            digests.append(file.metadata()["dataset_sha256"])
    assert digests[0] != digests[1]

"""Training and forwarding for tests, and what MLflow holds."""

import time

from ipserver.forward.forwarder import Forwarder, Pass
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.support import small_spec, submit


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

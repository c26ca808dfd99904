"""A forwarder under load stops after the step that it has begun; what is incomplete is sent again."""

import threading

import pytest

from ipserver.errors import StoreUnavailable
from ipserver.forward import mlflow_sink
from ipserver.forward.forwarder import Forwarder
from tests.ipserver.forward.cases import (
    Clock,
    a_sink,
    forward_all,
    mlflow_runs,
    pending,
    submit_cancelled,
    train,
)
from tests.ipserver.support import small_spec, submit


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def trained(store, settings):
    """Four runs of 84 points or more, which take nine calls each."""
    submit(store, small_spec(steps=400))
    train(store, settings)
    return store


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(mlflow_sink, "_BATCH", 10)


def stopping_forwarder(store, settings, stop, method, after, **options):
    """A forwarder that is stopped in the call number `after` of a method of MLflow's client; the calls."""
    forwarder = Forwarder(store, a_sink(settings), settings.artifact_root, "f", stop=stop, **options)
    client, calls = forwarder._sink._client, []
    original = getattr(client, method)

    def call(*args, **kwargs):
        calls.append(method)
        if len(calls) == after:
            stop.set()
        return original(*args, **kwargs)

    setattr(client, method, call)
    return forwarder, calls


def in_full(store, settings, mlflow):
    forward_all(store, settings, "g")
    assert pending(store) == 0
    runs = mlflow_runs(mlflow)
    assert len(mlflow.search_runs([mlflow.get_experiment_by_name("e").experiment_id])) == len(runs) == 4
    for run in runs.values():
        assert run.info.status == "FINISHED"
        assert "preset" in run.data.params
        points = mlflow.get_metric_history(run.info.run_id, "train_loss")
        steps = [point.step for point in points]
        assert steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (1, 400)


@pytest.mark.parametrize("after", [1, 3, 12])
def test_no_batch_is_sent_after_a_stop(trained, settings, mlflow, stop, after):
    forwarder, calls = stopping_forwarder(trained, settings, stop, "log_batch", after)
    forwarder.run()
    assert len(calls) == after
    assert pending(trained) == (4 if after < 10 else 3)
    in_full(trained, settings, mlflow)


def test_the_pace_is_not_waited_for_after_a_stop(trained, settings, mlflow, stop):
    """At one point in a thousand seconds the second batch would have to wait for hours."""
    forwarder, calls = stopping_forwarder(
        trained, settings, stop, "log_batch", 1, monotonic=Clock(), points_per_second=0.001
    )
    running = threading.Thread(target=forwarder.run, daemon=True)
    running.start()
    running.join(60)
    assert not running.is_alive()
    assert len(calls) == 1
    in_full(trained, settings, mlflow)


def test_a_wait_for_the_pace_ends_with_a_stop(trained, settings, mlflow, stop):
    waits = threading.Event()

    class Noted(threading.Event):
        def wait(self, timeout=None):
            waits.set()
            return super().wait(timeout)

    stop = Noted()
    forwarder = Forwarder(
        trained, a_sink(settings), settings.artifact_root, "f", Clock(), points_per_second=0.001, stop=stop
    )
    running = threading.Thread(target=forwarder.run, daemon=True)
    running.start()
    assert waits.wait(60)
    stop.set()
    running.join(60)
    assert not running.is_alive()
    in_full(trained, settings, mlflow)


def test_a_long_list_of_runs_is_not_read_to_its_end_after_a_stop(store, settings, mlflow, stop, monkeypatch):
    submit_cancelled(store, "e")
    mlflow.create_experiment("e")
    forwarder, calls = stopping_forwarder(store, settings, stop, "search_runs", 3)
    search = forwarder._sink._client.search_runs

    def endless(*args, **kwargs):
        page = search(args[0], max_results=1)
        page.token = "more"
        return page

    monkeypatch.setattr(forwarder._sink._client, "search_runs", endless)
    forwarder.run()
    assert len(calls) == 3
    assert pending(store) == 4


def test_a_stop_without_a_store_ends_without_an_error(store, settings, stop, monkeypatch, caplog):
    def gone(*_):
        raise StoreUnavailable("gone")

    stop.set()
    monkeypatch.setattr(store, "release_lease", gone)
    Forwarder(store, a_sink(settings), settings.artifact_root, "f", stop=stop).run()
    assert "the lease was not given back and ends on its own: gone" in caplog.text

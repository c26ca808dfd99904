"""The forwarder with a real MLflow on SQLite: one works at a time, and outages and refusals lose nothing."""

from collections import Counter

import pytest

from ipserver.forward.forwarder import Pass
from tests.ipserver.forward.cases import (
    Clock,
    a_forwarder,
    forward_all,
    mlflow_runs,
    pending,
    submit_cancelled,
    train,
)
from tests.ipserver.support import small_spec, submit


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
    """After an outage of 20 minutes, runs that were tried during it are not sent last."""
    submit_cancelled(store, "e", seeds=10)
    clock = Clock()
    forwarder = a_forwarder(store, settings, monotonic=clock)
    create = forwarder._sink._client.create_run

    def refuse(*call, **more):
        raise ConnectionError("MLflow is away")

    monkeypatch.setattr(forwarder._sink._client, "create_run", refuse)
    for second in range(0, 1200, 20):
        clock.time = float(second)
        assert forwarder.step() is not Pass.BUSY
    monkeypatch.setattr(forwarder._sink._client, "create_run", create)

    for second in range(1200, 1300, 5):
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


@pytest.mark.parametrize("holder", ["", "g"], ids=["free", "held"])
def test_a_forwarder_that_was_stopped_leaves_no_second_run(store, settings, mlflow, monkeypatch, holder):
    """A forwarder looks for a run in MLflow, stops while another sends everything, then creates the run.

    Then it gets its lease again and finds out as it marks the run, or it finds that another one holds it.
    """
    submit(store, small_spec())
    train(store, settings)
    clock = Clock()
    stopped = a_forwarder(store, settings, "f", clock)
    create = stopped._sink._client.create_run

    def create_late(*args, **kwargs):
        monkeypatch.undo()
        store.release_lease("forwarder", "f")
        forward_all(store, settings, "g")
        if holder:
            assert store.acquire_lease("forwarder", holder, 60)
            clock.time += 30
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

    # Not even the rest of the run that was being sent; the forwarder with the lease sends it again.
    assert pending(store) == 4
    assert len(mlflow_runs(mlflow)) == 1
    store.release_lease("forwarder", "g")
    forward_all(store, settings, "g")
    assert {run.info.status for run in mlflow_runs(mlflow).values()} == {"FINISHED"}

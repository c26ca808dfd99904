"""The fake service: the same SDK calls against it and against the real API, and what only it has."""

import threading

import pytest

import iplab
from iplab.testing import FakeService
from iplab.testing.made_up import METRICS
from tests.iplab.conftest import small_spec

pytest_plugins = ["iplab.testing.fixtures"]


@pytest.fixture(params=["fake", "real"])
def anywhere(request):
    """A client, and an experiment of it that has been played or trained to its end."""
    if request.param == "fake":
        client = request.getfixturevalue("iplab_client")
        return client, client.create(small_spec(), experiment_id="trained").refresh()
    return request.getfixturevalue("client"), request.getfixturevalue("trained")


def test_an_experiment_ends_with_all_its_runs(anywhere):
    client, experiment = anywhere
    assert experiment.wait(progress=False).state is iplab.ExperimentState.SUCCEEDED
    assert (experiment.counts.total, experiment.counts.succeeded) == (8, 8)
    assert experiment.committed_steps == experiment.total_steps == 160
    assert experiment.labels == {"team": "theory"}
    assert experiment.id in [it.id for it in client.experiments()]
    assert [it.id for it in client.experiments('state = "SUCCEEDED"', limit=1)]


def test_runs_have_the_order_of_the_grid(anywhere):
    _, experiment = anywhere
    runs = list(experiment.runs())
    points = [(run.id, run.width, run.parameterization, run.seed) for run in runs]
    assert points[:4] == [
        ("r00000", 8, "mup", 0),
        ("r00001", 8, "mup", 1),
        ("r00002", 8, "llr", 0),
        ("r00003", 8, "llr", 1),
    ]
    assert points[4] == ("r00004", 16, "mup", 0)
    assert [run.index for run in experiment.runs("parameterization = llr AND seed = 1")] == [3, 7]
    assert [run.index for run in experiment.runs("(base_learning_rate = 0.1) AND width = 16")] == [4, 5, 6, 7]
    assert experiment.run(3).state is iplab.RunState.SUCCEEDED


def test_metrics_and_summaries_agree(anywhere):
    _, experiment = anywhere
    metrics = experiment.metrics(filter="index = 2")
    assert metrics.names == METRICS
    steps, losses = metrics.series(2, "train_loss")
    assert steps.tolist() == [1, 5, 10, 15, 20]
    run = experiment.run(2)
    assert run.last_train_loss == pytest.approx(losses[-1])
    tested = experiment.metrics(names=["test_loss"], filter="index = 2", first_step=1)
    assert tested.step.tolist() == [20]
    assert run.final_test_loss == pytest.approx(tested.value[0])
    rows = experiment.summary()
    assert len(rows) == 4
    (row,) = (it for it in rows if (it.parameterization, it.width) == ("mup", 8))
    losses = [experiment.run(index).final_test_loss for index in (0, 1)]
    assert row.test_loss.mean == pytest.approx(sum(losses) / 2)
    assert row.test_loss.sd == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)


def test_a_watch_has_all_events_in_order(anywhere):
    _, experiment = anywhere
    events = list(experiment.watch())
    assert [event.sequence for event in events] == list(range(1, experiment.sequence + 1))
    states = [event.state for event in events if isinstance(event, iplab.StateChanged)]
    assert states == ["QUEUED", "RUNNING", "SUCCEEDED"]
    assert {type(event) for event in events} >= {iplab.RunsChanged, iplab.PackProgressed}
    assert [event.sequence for event in experiment.watch(after=events[-2].sequence)] == [events[-1].sequence]


def test_several_things_are_read_together(anywhere):
    client, experiment = anywhere
    assert [it.id for it in client.get_experiments("trained", "experiments/trained")] == ["trained"] * 2
    assert [run.index for run in experiment.get_runs([3, 0, 3])] == [3, 0, 3]
    with pytest.raises(iplab.NotFoundError, match=r"^there are no experiments 'nobody', 'none'"):
        client.get_experiments("nobody", "trained", "none")
    with pytest.raises(iplab.NotFoundError, match="there is no run 99 in experiment 'trained'; its 8 runs"):
        experiment.get_runs([1, 99])


def test_who_changed_what_is_on_record(anywhere):
    client, _ = anywhere
    with pytest.raises(iplab.AlreadyExistsError):
        client.create(small_spec(), experiment_id="trained")
    client.create(small_spec(), validate_only=True)
    found = list(client.audit('resource = "experiments/trained"'))
    told = [(it.user, it.method, it.resource, it.project, it.code, it.calls, it.peer) for it in found]
    create = "iplab.v1.ExperimentService/CreateExperiment"
    for entry, code in ((told[0], "ALREADY_EXISTS"), (told[-1], "OK")):
        assert entry == ("", create, "experiments/trained", "default", code, 1, "127.0.0.1")
    assert all(it.HasField("end_time") for it in found)
    assert [it.code for it in client.audit('code = "ALREADY_EXISTS"', limit=1)] == ["ALREADY_EXISTS"]
    newest, *_ = client.audit()
    assert ">ALREADY_EXISTS</td>" in client.audit('code = "ALREADY_EXISTS"')._repr_html_()
    assert newest.method == "iplab.v1.AuditService/ListAuditEntries", "itself is on record, once it has ended"
    with pytest.raises(iplab.InvalidRequestError, match="unknown field 'nonsense'"):
        list(client.audit("nonsense = 1"))


def test_errors_are_the_same(anywhere):
    client, experiment = anywhere
    with pytest.raises(iplab.NotFoundError, match="there is no experiment 'nothing'"):
        client.experiment("nothing")
    with pytest.raises(iplab.NotFoundError):
        experiment.run(99)
    with pytest.raises(iplab.AlreadyExistsError, match="'trained' exists already"):
        client.create(small_spec(), experiment_id="trained")
    with pytest.raises(iplab.SpecError) as wrong:
        client.create({"spec": {}})
    assert {it.field for it in wrong.value.violations} == {
        *(f"spec.{name}" for name in ("batch_size", "steps", "dataset")),
        *(
            f"spec.grid.{name}"
            for name in (
                *("widths", "hidden_layers", "activations", "seeds"),
                *("base_learning_rates", "parameterizations"),
            )
        ),
    }
    with pytest.raises(iplab.InvalidRequestError, match="unknown field 'nonsense'"):
        list(experiment.runs("nonsense = 3"))
    with pytest.raises(iplab.InvalidRequestError, match="nonsense"):
        experiment.metrics(names=["nonsense"])


def test_a_request_id_creates_one_experiment(anywhere):
    client, _ = anywhere
    id = "5e4e8ab0-8c5c-4b3e-9e0d-3a1a5c7f0001"
    first = client.create(small_spec(seeds=[0]), request_id=id)
    assert client.create(small_spec(seeds=[0]), request_id=id).id == first.id
    with pytest.raises(iplab.RequestIdReusedError):
        client.create(small_spec(seeds=[1]), request_id=id)
    checked = client.create(small_spec(seeds=[0]), validate_only=True)
    assert (checked.id, checked.counts.total) == ("", 4)


def test_equal_settings_have_equal_numbers(iplab_client):
    one, other = (iplab_client.create(small_spec(seeds=[3])) for _ in range(2))
    assert one.metrics().value.tolist() == other.metrics().value.tolist()
    assert "nothing is trained" in one.warnings[0]


def test_variables_of_other_services_do_not_matter(iplab_service, monkeypatch):
    monkeypatch.setenv("IPLAB_TLS_CA", "/nowhere.pem")
    monkeypatch.setenv("IPLAB_TOKEN", "for-another")
    with iplab_service.connect() as client:
        assert list(client.experiments()) == []


def test_what_is_held_is_played_as_the_test_says():
    with FakeService(hold=True) as service, service.connect() as client:
        experiment = client.create(small_spec(), experiment_id="e")
        assert experiment.refresh().state == "QUEUED"
        service.play("e", fail=[1], diverge=[2])
        assert experiment.wait(progress=False).state == "FAILED"
        assert experiment.run(1).failure.reason == "TRAINING_ERROR"
        assert experiment.run(2).state == "DIVERGED"
        cancelled = client.create(small_spec(), experiment_id="f").cancel()
        assert (cancelled.state, cancelled.counts.cancelled) == ("CANCELLED", 8)


def test_a_watch_goes_on_when_it_breaks():
    with FakeService(hold=True) as service, service.connect() as client:
        experiment = client.create(small_spec(), experiment_id="e")
        seen, begun = [], threading.Event()

        def follow():
            for event in experiment.watch(timeout=60):
                seen.append(event)
                begun.set()

        watcher = threading.Thread(target=follow)
        watcher.start()
        assert begun.wait(60)
        service.break_watches()
        service.play("e")
        watcher.join(60)
    assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].state == "SUCCEEDED"


def test_calls_are_refused_as_the_test_says(iplab_service, iplab_client, impatient):
    iplab_service.fail_next("ListExperiments", times=2)
    assert list(iplab_client.experiments()) == [], "the SDK has tried again"
    iplab_service.fail_next("ListExperiments", "INTERNAL")
    with pytest.raises(iplab.ServerError):
        list(iplab_client.experiments())
    with pytest.raises(ValueError, match="there is no reason 'NONSENSE', only: INVALID_REQUEST"):
        iplab_service.fail_next("ListExperiments", "NONSENSE")


def test_what_it_does_not_have_says_that_it_is_a_fake(iplab_client):
    experiment = iplab_client.create(small_spec())
    for call in (iplab_client.catalog, experiment.pause, lambda: list(experiment.runs("seed > 0"))):
        with pytest.raises(iplab.ServerError, match=r"the fake service of iplab\.testing has no"):
            call()

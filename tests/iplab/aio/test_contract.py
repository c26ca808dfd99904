"""One set of test bodies over the sync and the async client, against the real API and the fake service."""

import asyncio
import threading
import uuid

import pytest

import iplab
from iplab import aio
from iplab.testing import FakeService
from tests.iplab.aio.blocking import Blocking, Loop
from tests.iplab.conftest import small_spec
from tests.iplab.test_study import driven

GRID = {"parameterizations": [{"preset": "ntk"}], "hidden_layers": [2], "activations": ["relu"]}
QUESTION = {
    "question": "coordinate-check",
    "spec": {"spec": {"dataset": "digits", "batch_size": 16, "steps": 2, "grid": GRID}},
    "budget": "400 runs",
}

pytest_plugins = ["iplab.testing.fixtures"]


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture
def connected(kind, loop):
    """Makes a client of a service, whatever its kind; all are closed at the end."""
    clients = []

    def connect(address):
        async def connected():
            return aio.connect(address)

        made = iplab.connect(address) if kind == "sync" else Blocking(loop, loop.run(connected()))
        clients.append(made)
        return made

    yield connect
    for client in clients:
        client.close()


@pytest.fixture(params=["fake", "real"])
def anywhere(request, connected):
    """A client, and the id of an experiment that has been played or trained to its end."""
    if request.param == "fake":
        service = request.getfixturevalue("iplab_service")
        request.getfixturevalue("iplab_client").create(small_spec(), experiment_id="trained")
    else:
        service = request.getfixturevalue("service")
        request.getfixturevalue("trained")
    return connected(service.address)


@pytest.fixture
def hasty(monkeypatch):
    """Retries without pauses, which are counted."""
    pauses = []

    async def noted(delay):
        pauses.append(delay)

    for module in ("iplab.connection.transport", "iplab.results.following"):
        monkeypatch.setattr(f"{module}.pause", pauses.append)
    for module in ("iplab.connection.async_transport", "iplab.aio.following"):
        monkeypatch.setattr(f"{module}.pause", noted)
    return pauses


def test_what_has_ended_is_read(anywhere):
    experiment = anywhere.experiment("trained")
    assert experiment.wait(timeout=60).state is iplab.ExperimentState.SUCCEEDED
    assert (experiment.counts.total, experiment.counts.succeeded) == (8, 8)
    assert (experiment.labels, experiment.total_steps) == ({"team": "theory"}, 160)
    assert "trained" in [it.id for it in anywhere.experiments()]
    assert len(list(anywhere.experiments(limit=1))) == 1
    assert list(anywhere.experiments(limit=0)) == []
    assert repr(experiment).endswith("trained: SUCCEEDED, 8/8 runs ended, 160/160 steps>")


def test_runs_metrics_and_summaries_agree(anywhere):
    experiment = anywhere.experiment("experiments/trained")
    assert [run.index for run in experiment.runs("parameterization = llr AND seed = 1")] == [3, 7]
    run = experiment.run(2)
    assert (run.id, run.state, run.parameterization) == ("r00002", iplab.RunState.SUCCEEDED, "llr")
    metrics = experiment.metrics("index = 2", ["train_loss"])
    steps, losses = metrics.series(2, "train_loss")
    assert steps.tolist() == [1, 5, 10, 15, 20]
    assert run.refresh().last_train_loss == pytest.approx(losses[-1])
    assert run.metrics(("train_loss",)).value.tolist() == losses.tolist()
    assert (metrics.settings, metrics.diverged) == ({2: run.settings}, {})
    (row,) = (it for it in experiment.summary() if (it.parameterization, it.width) == ("mup", 8))
    tested = [experiment.run(index).final_test_loss for index in (0, 1)]
    assert row.test_loss.mean == pytest.approx(sum(tested) / 2)


def test_a_watch_has_all_events_in_order(anywhere):
    experiment = anywhere.experiment("trained")
    events = list(experiment.watch())
    assert [event.sequence for event in events] == list(range(1, experiment.sequence + 1))
    assert [e.state for e in events if isinstance(e, iplab.StateChanged)] == [
        "QUEUED",
        "RUNNING",
        "SUCCEEDED",
    ]
    assert [e.sequence for e in experiment.watch(after=events[-2].sequence)] == [events[-1].sequence]


def test_a_request_id_creates_once_and_validation_nothing(anywhere, kind):
    ids = {"sync": "5e4e8ab0-8c5c-4b3e-9e0d-3a1a5c7f0011", "async": "5e4e8ab0-8c5c-4b3e-9e0d-3a1a5c7f0012"}
    first = anywhere.create(small_spec(seeds=[0]), request_id=ids[kind])
    assert anywhere.create(small_spec(seeds=[0]), request_id=ids[kind]).id == first.id
    with pytest.raises(iplab.RequestIdReusedError):
        anywhere.create(small_spec(seeds=[1]), request_id=ids[kind])
    checked = anywhere.create(small_spec(), experiment_id=f"only-{kind}", validate_only=True)
    assert checked.counts.total == 8
    with pytest.raises(iplab.NotFoundError, match=f"there is no experiment 'only-{kind}'"):
        anywhere.experiment(f"only-{kind}")
    assert first.cancel().wait(timeout=60).state in {"CANCELLED", "SUCCEEDED"}


def test_errors_are_the_same(anywhere):
    experiment = anywhere.experiment("trained")
    with pytest.raises(iplab.NotFoundError) as missing:
        experiment.run(99)
    assert missing.value.__suppress_context__, "nobody is shown a traceback of gRPC above it"
    with pytest.raises(iplab.AlreadyExistsError, match="'trained' exists already"):
        anywhere.create(small_spec(), experiment_id="trained")
    with pytest.raises(iplab.SpecError) as wrong:
        anywhere.create({"spec": {"steps": "many"}})
    assert {"spec.steps", "spec.grid.seeds"} <= {it.field for it in wrong.value.violations}
    with pytest.raises(iplab.InvalidRequestError, match="unknown field 'nonsense'"):
        list(experiment.runs("nonsense = 3"))
    with pytest.raises(iplab.InvalidRequestError, match="nonsense"):
        experiment.metrics(names=["nonsense"])


def test_what_has_ended_is_deleted(service, connected, kind):
    client = connected(service.address)
    experiment = client.create(small_spec(), experiment_id=f"gone-{kind}")
    with pytest.raises(iplab.InvalidRequestError, match="cancel"):
        experiment.delete()
    assert experiment.cancel().delete().delete_time is not None
    listed = [it.id for it in client.experiments()]
    assert f"gone-{kind}" not in listed
    assert f"gone-{kind}" in [it.id for it in client.experiments(show_deleted=True)]


def test_an_experiment_is_changed(service, connected, kind):
    client = connected(service.address)
    experiment = client.create(small_spec(seeds=[0]), experiment_id=f"changed-{kind}").pause()
    assert experiment.state in {"PAUSING", "PAUSED"}
    more = experiment.extend(seeds=[1], validate_only=True)
    assert (more.counts.total, experiment.counts.total) == (8, 4)
    identity = str(uuid.uuid4())
    assert experiment.extend(seeds=[1], request_id=identity).counts.total == 8
    assert experiment.extend(seeds=[1], request_id=identity).counts.total == 8
    assert experiment.update(notes="n", labels={"a": "b"}, priority=3).etag
    changed = client.experiment(experiment.id)
    assert (changed.notes, changed.labels["a"], changed.priority) == ("n", "b", 3)
    with pytest.raises(iplab.EtagMismatchError):
        experiment.update(notes="m", etag="another")
    assert experiment.resume().cancel().wait(timeout=120).state in {"CANCELLED", "SUCCEEDED"}
    assert experiment.retry_failed().state in {"CANCELLED", "SUCCEEDED"} if experiment.counts.failed else True
    assert experiment.delete().undelete().delete_time is None
    assert experiment.delete().purge().purge_time is not None


def test_weights_are_read_and_checked(service, trained, connected, tmp_path):
    run = connected(service.address).experiment("trained").run(2)
    assert [file.path for file in run.artifacts()] == [file.path for file in trained.run(2).artifacts()]
    expected, found = trained.run(2).weights(), run.weights()
    assert all((found.arrays[name] == expected.arrays[name]).all() for name in expected.arrays)
    copy = run.download("weights/final.safetensors", tmp_path)
    assert copy.read_bytes() == run.read("weights/final.safetensors")
    with pytest.raises(FileExistsError):
        run.download("weights/final.safetensors", tmp_path, overwrite=False)
    with pytest.raises(iplab.NotFoundError, match="no artifact 'x'"):
        run.read("x")
    with pytest.raises(iplab.NotFoundError, match="has no weights 7"):
        run.weights(7)


def test_a_study_is_asked_followed_and_changed(service, connected, kind):
    client = connected(service.address)
    with pytest.raises(iplab.SpecError, match="steps"):
        client.study("coordinate-check", {"spec": {"steps": 0}}, budget="400 runs")
    study = client.study(**QUESTION, study_id=f"asked-{kind}")
    assert study.id in [it.id for it in client.studies()]
    assert study.update(notes="n").notes == client.get_study(study.id).notes == "n"
    study.cancel()
    with driven(service):
        seen = [it.state for it in study.watch(timeout=120)]
    assert seen[-1] == study.refresh().state == "CANCELLED"
    assert study.wait(timeout=60).spent is not None
    assert [it.id for it in study.trained()] == [name.rpartition("/")[2] for name in study.experiments]
    assert study.delete().undelete().delete_time is None
    with pytest.raises(iplab.NotFoundError):
        client.get_study("nobody-asked")


def test_calls_are_tried_again_by_the_same_rule(iplab_service, connected, hasty):
    client = connected(iplab_service.address)
    iplab_service.fail_next("ListExperiments", times=2)
    assert list(client.experiments()) == []
    assert hasty == [0.1, 0.2]
    iplab_service.fail_next("ListExperiments", times=6)
    with pytest.raises(iplab.UnavailableError):
        list(client.experiments())
    assert hasty[2:] == [0.1, 0.2, 0.4, 0.8, 1.5]
    iplab_service.fail_next("CreateExperiment")
    with pytest.raises(iplab.UnavailableError):
        client.create(small_spec(), request_id="")
    assert len(hasty) == 7, "without a request id it might be created twice"


def test_a_watch_goes_on_when_it_breaks(connected):
    with FakeService(hold=True) as service:
        experiment = connected(service.address).create(small_spec(), experiment_id="e")
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


def test_a_watch_has_a_timeout_and_may_be_left(connected):
    with FakeService(hold=True) as service:
        experiment = connected(service.address).create(small_spec(), experiment_id="e")
        with pytest.raises(iplab.TimedOutError, match=r"experiments/e has not ended within 0\.2 s"):
            experiment.wait(timeout=0.2)
        assert next(iter(experiment.watch())).sequence == 1


def test_a_service_that_is_restarted_is_found_again(own_service, connected, hasty):
    experiment = connected(own_service.address).create(small_spec(), experiment_id="e")
    watch = experiment.watch(timeout=120)
    seen = [next(watch)]
    own_service.stop()
    own_service.start()
    connected(own_service.address).experiment("e").cancel()
    seen += list(watch)
    assert [event.sequence for event in seen] == list(range(1, experiment.refresh().sequence + 1))
    assert experiment.state is iplab.ExperimentState.CANCELLED


async def test_many_calls_go_on_at_once(service, trained):
    async with aio.connect(service.address) as client:
        found = await asyncio.gather(*(client.experiment("trained") for _ in range(20)))
        runs = await asyncio.gather(*(found[0].run(index) for index in range(8)))
    assert [run.index for run in runs] == list(range(8))


async def test_a_cancelled_task_ends_its_watch():
    with FakeService(hold=True) as service:
        async with service.connect_async() as client:
            experiment = await client.create(small_spec())
            waiting = asyncio.create_task(experiment.wait())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await experiment.refresh()).state is iplab.ExperimentState.QUEUED


def test_a_client_needs_an_event_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        aio.connect("127.0.0.1:1")

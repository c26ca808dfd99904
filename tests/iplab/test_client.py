"""Submitting and finding experiments on a real service."""

import socket
import uuid

import grpc
import pytest

import iplab
from iplab.connection.batches import in_batches
from tests.iplab.conftest import small_spec


def test_a_spec_file_becomes_an_experiment(client, tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(
        "display_name: from a file\n"
        "spec:\n"
        "  dataset: digits\n"
        "  batch_size: 16\n"
        "  steps: 3\n"
        "  grid:\n"
        "    parameterizations:\n"
        "      - preset: ip\n"
        "      - {label: mine, exponents: {a: [0, 1, 1], b: [0, 0, 0], c: [-1, -2, -1]}}\n"
        "    widths: [4, 8]\n"
        "    hidden_layers: [1]\n"
        "    activations: [tanh]\n"
        "    base_learning_rates: [1e-2]\n"
        "    seeds: [0]\n"
    )
    experiment = client.create(file, experiment_id="from-a-file")
    assert experiment.id == "from-a-file"
    assert experiment.state is iplab.ExperimentState.QUEUED
    assert (experiment.counts.total, experiment.counts.queued) == (4, 4)
    assert experiment.total_steps == 4 * 3
    assert experiment.spec.record.weights == "final", "defaults are filled in"
    assert client.experiment("from-a-file").display_name == "from a file"
    assert client.experiment("experiments/from-a-file").spec_hash == experiment.spec_hash
    experiment.cancel()


def test_validation_creates_nothing(client):
    checked = client.create(small_spec(), experiment_id="only-checked", validate_only=True)
    assert checked.counts.total == 8
    assert checked.run_memory_bytes > 0
    with pytest.raises(iplab.NotFoundError, match="only-checked") as caught:
        client.experiment("only-checked")
    assert caught.value.__suppress_context__, "notebooks show no traceback of gRPC above it"


def test_every_wrong_field_is_named_at_once_in_the_callers_words(client):
    spec = small_spec(widths=[0, 8, 8], activations=[], base_learning_rates=[-1.0])
    spec["spec"]["dataset"] = "digit"
    with pytest.raises(iplab.SpecError) as caught:
        client.create(spec, experiment_id="has/slash")
    fields = {violation.field for violation in caught.value.violations}
    assert {
        "experiment_id",
        "spec.dataset",
        "spec.grid.widths[0]",
        "spec.grid.activations",
        "spec.grid.base_learning_rates[0]",
    } <= fields


def test_wrong_types_do_not_hide_what_the_service_finds(client, impatient):
    spec = small_spec(
        seeds=[-1, 0, 0], base_learning_rates=[-1, 0, float("nan"), "abc", 0.1], widths=["x", 8, 0]
    )
    spec["spec"] |= {"dataset": 5, "steps": 0, "batch_size": 2**40}
    with pytest.raises(iplab.SpecError) as caught:
        client.create(spec, experiment_id="has/slash")
    fields = [violation.field.removeprefix("spec.") for violation in caught.value.violations]
    rates = [f"grid.base_learning_rates[{i}]" for i in range(4)]
    expected = ["experiment_id", "dataset", "batch_size", "steps", *rates]
    assert sorted(fields) == sorted(
        [*expected, "grid.seeds[0]", "grid.seeds[2]", "grid.widths[0]", "grid.widths[2]"]
    )
    with iplab.connect("127.0.0.1:1") as nobody, pytest.raises(iplab.SpecError) as caught:
        nobody.create(spec)
    assert {violation.field for violation in caught.value.violations} == {
        "spec.dataset",
        "spec.batch_size",
        "spec.grid.seeds[0]",
        "spec.grid.base_learning_rates[3]",
        "spec.grid.widths[0]",
    }


def test_a_wrong_type_creates_nothing(client):
    with pytest.raises(iplab.SpecError):
        client.create(small_spec(seeds=[-1, 0]), experiment_id="wrong-type")
    with pytest.raises(iplab.NotFoundError):
        client.experiment("wrong-type")


def test_the_same_request_is_done_once(client):
    request = str(uuid.uuid4())
    first = client.create(small_spec(), request_id=request)
    assert client.create(small_spec(), request_id=request).id == first.id
    with pytest.raises(iplab.RequestIdReusedError):
        client.create(small_spec(widths=[4]), request_id=request)
    first.cancel()


def test_calls_without_a_request_id_are_different_requests(client):
    one, two = client.create(small_spec()), client.create(small_spec())
    assert one.id != two.id
    with pytest.raises(iplab.AlreadyExistsError):
        client.create(small_spec(), experiment_id=one.id)
    for experiment in (one, two):
        experiment.cancel()


def test_listing_filters_limits_and_goes_newest_first(client):
    ids = [client.create({**small_spec(), "labels": {"batch": "listing"}}).cancel().id for _ in range(3)]
    found = list(client.experiments('labels.batch = "listing"'))
    assert [experiment.id for experiment in found] == ids[::-1]
    assert [e.id for e in client.experiments('labels.batch = "listing"', limit=2)] == ids[:0:-1]
    assert list(client.experiments('labels.batch = "listing" AND state = RUNNING')) == []
    with pytest.raises(iplab.InvalidRequestError) as caught:
        list(client.experiments("colour = 1"))
    assert caught.value.violations[0].field == "filter"


def test_what_may_be_named_comes_from_the_service(client):
    assert "digits" in [dataset.name for dataset in client.catalog().datasets]
    llr = next(p for p in client.parameterizations(hidden_layers=4) if p.preset == "ip-llr")
    assert list(llr.exponents.c_first_step) == ["-5/2", "-3", "-3", "-3", "-5/2"]


def test_nobody_there(impatient):
    with socket.socket() as bound:  # a port that nobody listens on, reserved by binding it
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with iplab.connect(address) as client, pytest.raises(iplab.UnavailableError, match=address):
            client.experiment("any")


def test_the_address_may_come_from_the_environment(service, monkeypatch):
    monkeypatch.setenv("IPLAB_ADDRESS", service.address)
    with iplab.connect() as client:
        assert "digits" in [dataset.name for dataset in client.catalog().datasets]
    with iplab.connect("127.0.0.1:1") as client:
        assert repr(client) == "<Client of 127.0.0.1:1>"
    for unset in ("", None):
        monkeypatch.delenv("IPLAB_ADDRESS") if unset is None else monkeypatch.setenv("IPLAB_ADDRESS", unset)
        with iplab.connect() as client:
            assert repr(client) == "<Client of 127.0.0.1:50051>"


def test_creation_is_tried_again_only_under_a_request_id(monkeypatch):
    pauses = []
    monkeypatch.setattr("iplab.connection.transport.pause", pauses.append)
    with iplab.connect("127.0.0.1:1") as client:
        with pytest.raises(iplab.UnavailableError):
            client.create(small_spec(), request_id="")
        assert pauses == []
        with pytest.raises(iplab.UnavailableError):
            client.create(small_spec())
        assert pauses == sorted(pauses)
        assert len(pauses) == 5


def test_a_silent_peer_ends_in_a_timeout(impatient):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        either = pytest.raises((iplab.TimedOutError, iplab.UnavailableError))
        with iplab.connect(address, timeout=0.3) as client, either as raised:
            client.experiment("any")
    if isinstance(raised.value, iplab.TimedOutError):
        assert "allow more than 0.3 s: IPLAB_TIMEOUT" in str(raised.value)


def test_a_call_survives_a_restart_of_the_service(own_service, monkeypatch):
    def meanwhile(delay):
        """The service comes back while the client waits for its next attempt."""
        if not own_service.running:
            own_service.start()
        wait_for_connection(client)

    with iplab.connect(own_service.address) as client:
        client.create(small_spec(), experiment_id="kept")
        own_service.stop()
        monkeypatch.setattr("iplab.connection.transport.pause", meanwhile)
        assert client.experiment("kept").counts.total == 8


def wait_for_connection(client):
    """gRPC waits before it connects again, which the client must tolerate."""
    grpc.channel_ready_future(client._transport._channel).result(timeout=60)


def test_metadata_goes_with_every_call(service):
    seen = []

    class Recorder(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            seen.append(details.metadata)
            return continuation(details, request)

    with iplab.connect(service.address, metadata=[("x-token", "secret")]) as client:
        transport = client._transport
        channel = grpc.intercept_channel(transport._channel, Recorder())
        transport.catalog = type(transport.catalog)(channel)
        client.catalog()
    assert [tuple(metadata) for metadata in seen] == [(("x-token", "secret"),)]


def test_several_experiments_and_runs_are_read_together(client, trained, monkeypatch):
    first = client.create(small_spec(), experiment_id="batch-1")
    ids = ["trained", "experiments/batch-1", "trained"]
    assert [one.id for one in client.get_experiments(*ids)] == ["trained", "batch-1", "trained"]
    assert client.get_experiments() == []
    with pytest.raises(iplab.NotFoundError, match="there are no experiments 'x', 'y'"):
        client.get_experiments("x", "trained", "y")
    assert [run.to_dict() for run in trained.get_runs([3, "r00000"])] == [
        run.to_dict() for run in (*trained.runs("index = 3"), *trained.runs("index = 0"))
    ]
    with pytest.raises(iplab.NotFoundError, match="there is no run 8"):
        trained.get_runs([0, 8])
    first.cancel()


def test_a_batch_whose_answer_is_too_large_is_halved():
    asked = []

    def read(names):
        asked.append(len(names))
        if len(names) > 2:
            raise iplab.TooExpensiveError("ask for fewer")
        return names

    names = [str(n) for n in range(11)]
    assert list(in_batches(names, 5, read)) == names
    assert asked == [5, 3, 2, 1, 2, 5, 3, 2, 1, 2, 1]
    with pytest.raises(iplab.TooExpensiveError):
        list(in_batches(["a"], 5, lambda some: read(some * 3)))

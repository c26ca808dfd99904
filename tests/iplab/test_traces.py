"""One trace from the caller's program over the API and the store to the slices of a dispatcher."""

import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ipserver.environment import traces
from tests.iplab.conftest import small_spec


@pytest.fixture
def recorded(monkeypatch):
    """Spans of this process: of the program, by its own set-up, and of the service."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace.get_tracer", provider.get_tracer)
    traces.record_to(provider)
    yield provider.get_tracer("program"), exporter
    traces.record_to(None)


def ended(exporter, name):
    """The only span of a name; a caller may have its answer before the service has ended its span."""
    deadline = time.monotonic() + 60
    while not (found := [it for it in exporter.get_finished_spans() if it.name == name]):
        assert time.monotonic() < deadline, f"no span {name} has ended"
        time.sleep(0.01)
    (span,) = found
    return span


def path(span, spans):
    """Names of a span and of those above it."""
    names = [span.name]
    while span.parent is not None:
        (span,) = (it for it in spans if it.context.span_id == span.parent.span_id)
        names.append(span.name)
    return names


def test_a_trace_goes_from_the_call_to_the_slices(recorded, own_service):
    import iplab

    tracer, exporter = recorded
    with iplab.connect(own_service.address) as client:
        with tracer.start_as_current_span("program"):
            experiment = client.create(small_spec(widths=[8]), experiment_id="traced")
        own_service.train()
        with tracer.start_as_current_span("later"):
            experiment.extend(seeds=[7])
        own_service.train()
        assert experiment.refresh().state == "SUCCEEDED"

    spans = exporter.get_finished_spans()
    (program,) = (it for it in spans if it.name == "program")
    (later,) = (it for it in spans if it.name == "later")
    first, second = (
        [it for it in spans if it.context.trace_id == root.context.trace_id] for root in (program, later)
    )
    called = ["ExperimentService/CreateExperiment", "iplab CreateExperiment", "program"]
    paths = [path(it, first) for it in first]
    assert called in paths
    written = ["store write", *called]
    assert written in paths
    assert ["plan", *written] in paths
    assert ["start pack", *written] in paths
    slices = sorted((it for it in first if it.name == "slice"), key=lambda it: it.start_time)
    assert [path(it, first) for it in slices] == [["slice", *written]] * len(slices)
    assert (slices[0].attributes["iplab.experiment"], slices[0].attributes["iplab.first_step"]) == (
        "traced",
        1,
    )
    assert slices[-1].attributes["iplab.last_step"] == 20
    assert all(it.start_time < it.end_time for it in slices)
    commits = [it for it in paths if it[:2] == ["store write", "slice"]]
    assert len(commits) >= len(slices)
    assert [path(it, second)[-1] for it in second if it.name == "slice"], "of the extension's call"

    others = [it for it in spans if it not in (*first, *second)]
    roots = {it.name for it in others if it.parent is None}
    assert roots == {"iplab GetExperiment"}, "the last call; what dispatchers look for is in no trace"


def test_calls_that_fail_are_errors_without_their_text(recorded, client):
    import iplab

    _, exporter = recorded
    with pytest.raises(iplab.NotFoundError):
        client.experiment("no-such-thing")
    call = ended(exporter, "ExperimentService/GetExperiment")
    assert not call.status.is_ok
    assert call.attributes["rpc.grpc.status_code"] == 5
    assert "no-such-thing" not in call.to_json()


def test_without_a_set_up_nothing_is_recorded(client, trained):
    assert traces.context() == ""
    with traces.span("nothing", parent="") as span:
        assert span is None

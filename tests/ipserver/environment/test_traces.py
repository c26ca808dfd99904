"""Which variables of OpenTelemetry ask for spans, and what they bring."""

# ruff: noqa: N802 - a method is named in a proto

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

import iplab
from ipserver.environment import traces
from tests.ipserver.support import migrated


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "mine"}, []),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://o:4317"}, []),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://o:4317"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, []),
    ],
)
def test_the_standard_variables_decide(environment, exporters):
    assert traces.wanted(environment) == exporters


def test_an_exporter_that_is_not_there_is_named_and_missed_by_nobody(caplog):
    traces.configure_traces("api", {"OTEL_TRACES_EXPORTER": "smoke"})
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "there is no exporter 'smoke' here, only: console" in record.getMessage()
    assert traces.context() == ""


def test_spans_are_written_by_the_exporter_and_nothing_is_imported_without():
    """In a process of its own: its spans go to the console."""
    program = (
        "import sys\n"
        "from ipserver.environment import traces\n"
        "traces.configure_traces('api', {})\n"
        "assert 'opentelemetry' not in sys.modules\n"
        "traces.configure_traces('api', {'OTEL_TRACES_EXPORTER': 'console'})\n"
        "with traces.span('call', parent=''):\n"
        "    assert traces.context().startswith('00-')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert '"name": "call"' in done.stdout
    assert '"service.name": "iplab-api"' in done.stdout


class Receiver(TraceServiceServicer):
    """Receives OTLP over gRPC as a collector does: no collector comes as a wheel."""

    def __init__(self):
        self.requests = []

    def Export(self, request, context):
        self.requests.append(request)
        return ExportTraceServiceResponse()


@pytest.fixture
def collector():
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(receiver, server)
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield receiver
    server.stop(None).wait()


def test_a_part_sends_its_spans_over_otlp(collector, tmp_path):
    store = migrated(f"sqlite:///{tmp_path}/iplab.db")
    command = [sys.executable, "-m", "ipserver", "api", "--address", "127.0.0.1:0", "--store", store]
    environment = os.environ | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "IPLAB_HOME": str(tmp_path),
    }
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if "listening on port" in line:
                    break
            # Nobody reads the rest, which is short.
            address = f"127.0.0.1:{line.rpartition(' ')[2].strip()}"
            trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
            with iplab.connect(address, metadata=[("traceparent", f"00-{trace}-{parent}-01")]) as client:
                client.catalog()
                with pytest.raises(iplab.NotFoundError):
                    client.experiment("nobody")
        finally:
            process.terminate()
        assert process.wait(60) == 0
    (resource,) = {
        json_format.MessageToJson(batch.resource, sort_keys=True)
        for request in collector.requests
        for batch in request.resource_spans
    }
    told = {entry["key"]: entry["value"]["stringValue"] for entry in json.loads(resource)["attributes"]}
    assert (told["service.name"], told["deployment.environment.name"]) == ("iplab-api", "test")
    spans = [
        span
        for request in collector.requests
        for batch in request.resource_spans
        for scope in batch.scope_spans
        for span in scope.spans
    ]
    (call,) = (span for span in spans if span.name == "CatalogService/GetCatalog")
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (trace, parent)
    (refused,) = (span for span in spans if span.name == "ExperimentService/GetExperiment")
    assert refused.status.code == Status.StatusCode.STATUS_CODE_ERROR
    assert {entry.key: entry.value.int_value for entry in refused.attributes} == {
        "rpc.grpc.status_code": grpc.StatusCode.NOT_FOUND.value[0]
    }
    reads = [span for span in spans if span.name == "store read" and span.parent_span_id == refused.span_id]
    assert reads
    assert all(0 < span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)

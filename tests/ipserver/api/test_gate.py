"""What never reaches a method: malformed bytes, requests beyond bounds, unknown fields."""

import logging

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from iplab.v1 import errors_pb2
from iplab.v1 import experiment_service_pb2 as pb
from ipserver.api.gate import MOST_BYTES, MOST_SPEC_BYTES
from tests.ipserver.api.conftest import create_request

GET = "/iplab.v1.ExperimentService/GetExperiment"
CREATE = "/iplab.v1.ExperimentService/CreateExperiment"
QUERY = "/iplab.v1.RunService/QueryMetrics"


def _raw(api, method):
    return api.channel.unary_unary(method)


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe", b"\x00", b"\x0b" * 500])
async def test_malformed_bytes_are_refused_without_a_line_in_the_log(api, data, caplog):
    with caplog.at_level(logging.INFO):
        failed = await api.fails(_raw(api, GET)(data))
        streamed = await api.fails(api.channel.unary_stream(QUERY)(data))
    for found in (failed, streamed):
        assert found.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "cannot be decoded" in found.violations[""]
    assert not caplog.records


BAD = (b"\xff\xff\xff", b"\x0a\x05abc", b"\x0a\x03\xff\xfe\xfd", b"\x0a\x80\x80\x04" + b"x" * 2**16)


@pytest.mark.parametrize("data", BAD, ids=["wire", "cut", "UTF-8", "long"])
@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("unary_unary", "/grpc.health.v1.Health/Check"),
        ("unary_stream", "/grpc.health.v1.Health/Watch"),
        ("stream_stream", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
    ],
)
async def test_services_of_others_refuse_malformed_bytes_likewise(api, kind, path, data, caplog):
    """Health asks for no token: what it logged, anybody could write."""
    with caplog.at_level(logging.INFO):
        method = getattr(api.channel, kind)(path)
        call = method(iter([data])) if kind == "stream_stream" else method(data)
        failed = await api.fails(call if kind == "unary_unary" else call.read())
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "cannot be decoded" in failed.message or "at most 4,096 are allowed" in failed.message
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_health_and_reflection_read_what_later_versions_may_send(api):
    health = health_pb2_grpc.HealthStub(api.channel)
    request = health_pb2.HealthCheckRequest.FromString(b"\xf8\x3e\x07")
    assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
    watch = health.Watch(request)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    assert (await stub.ServerReflectionInfo(asked).read()).list_services_response.service


async def test_a_request_beyond_its_methods_bytes_is_refused(api):
    data = pb.GetExperimentRequest(name="x" * MOST_BYTES).SerializeToString()
    failed = await api.fails(_raw(api, GET)(data))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 262,144 are allowed" in failed.violations[""]
    failed = await api.fails(_raw(api, CREATE)(b"x" * (MOST_SPEC_BYTES + 1)))
    assert failed.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_unknown_fields_are_not_stored(api):
    request = create_request("e")
    request.experiment.spec.MergeFromString(b"\xf8\x3e\x07")
    failed = await api.fails(api.experiments.CreateExperiment(request))
    assert list(failed.violations) == ["experiment.spec.field 1007"]
    assert failed.reason == "INVALID_REQUEST"
    assert not api.store.list_experiments(limit=1)


async def test_nul_in_a_filter_is_refused(api):
    failed = await api.fails(
        api.experiments.ListExperiments(pb.ListExperimentsRequest(filter='state = "\0"'))
    )
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "NUL" in failed.violations["filter"]


def test_there_is_a_reason_for_what_costs_too_much():
    assert errors_pb2.ERROR_REASON_TOO_EXPENSIVE == 9

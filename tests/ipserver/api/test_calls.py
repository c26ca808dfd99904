"""What observers hear of calls: method, code, seconds."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from iplab.v1 import experiment_service_pb2
from ipserver.api.calls import Call


async def test_every_call_is_told_with_its_method_and_code(running: Any) -> None:
    calls: list[Call] = []
    async with running(observers=(calls.append,)) as api:
        await api.create("e")
        get = experiment_service_pb2.GetExperimentRequest(name="experiments/nothing")
        await api.fails(api.experiments.GetExperiment(get))
        with pytest.raises(aio.AioRpcError):
            await api.channel.unary_unary("/iplab.v1.ExperimentService/Nonsense")(b"")
        await health_pb2_grpc.HealthStub(api.channel).Check(health_pb2.HealthCheckRequest())
        watch = experiment_service_pb2.WatchExperimentRequest(name="experiments/e")
        stream = api.experiments.WatchExperiment(watch)
        await stream.read()
        stream.cancel()
        with pytest.raises(aio.AioRpcError) as late:
            await api.experiments.WatchExperiment(watch, timeout=0.05).read()  # the creation
            async for _ in api.experiments.WatchExperiment(watch, timeout=0.05):
                pass
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    told = [(call.method, call.code) for call in calls]
    assert told[:3] == [
        ("ExperimentService/CreateExperiment", "OK"),
        ("ExperimentService/GetExperiment", "NOT_FOUND"),
        ("unknown", "UNIMPLEMENTED"),
    ]
    assert ("ExperimentService/WatchExperiment", "CANCELLED") in told[3:]
    assert {method for method, _ in told[3:]} == {"ExperimentService/WatchExperiment"}, "no health checks"

    assert all(call.seconds > 0 for call in calls if call.method != "unknown")

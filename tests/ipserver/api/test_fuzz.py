"""Every method against every class of bad request: never UNKNOWN or INTERNAL, and others are still answered.

`make fuzz` does the same for longer, with new requests (IPLAB_FUZZ_SECONDS, IPLAB_FUZZ_SEED).
"""

import asyncio
import collections
import logging
import os
import random
import time

import grpc
import pytest
from grpc import aio

from iplab.v1 import experiment_service_pb2 as pb
from tests.ipserver.api import fuzzing

REQUESTS = 16  # to each method, and more until every class was tried
SECONDS = float(os.environ.get("IPLAB_FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("IPLAB_FUZZ_SEED", "1"))
DEFECTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}


def test_every_service_is_fuzzed():
    paths = [method.path for method in fuzzing.methods()]
    assert len(paths) == len(set(paths))
    assert "/iplab.v1.ExperimentService/CreateExperiment" in paths
    assert "/iplab.v1.ReportService/CheckExperiment" in paths


@pytest.mark.parametrize("method", fuzzing.methods(), ids=lambda method: method.path.rpartition("/")[2])
async def test_bad_requests_are_answered_as_such(api, method, caplog):
    await api.create("e")
    requests = fuzzing.bad_bytes(method, random.Random(f"{SEED} {method.path}"))
    ends = time.monotonic() + SECONDS / len(fuzzing.methods())
    tried = collections.Counter()
    with caplog.at_level(logging.WARNING, logger="ipserver"):
        while tried.total() < REQUESTS or len(tried) < 8 or time.monotonic() < ends:
            kind, data = next(requests)
            tried[kind] += 1
            code, details = await _code(api, method, data)
            assert code not in DEFECTS, f"{kind} {data[:2000]!r}: {code} {details}"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    still = await api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e"))
    assert still.name == "experiments/e"


async def _code(api, method, data):
    """Status of a call; a stream is read for its first answer, since a watch may last."""
    try:
        if method.streams:
            call = api.channel.unary_stream(method.path)(data, timeout=30)
            read = asyncio.ensure_future(call.read())
            done, _ = await asyncio.wait({read}, timeout=0.2)
            call.cancel()
            if done:
                read.result()
            else:
                await asyncio.wait({read})
                read.cancelled() or read.exception()
        else:
            await api.channel.unary_unary(method.path)(data, timeout=30)
    except aio.AioRpcError as error:
        return error.code(), error.details()
    except asyncio.CancelledError:
        return grpc.StatusCode.CANCELLED, ""
    return grpc.StatusCode.OK, ""

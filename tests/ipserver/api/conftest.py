"""A real gRPC server on a loopback port, a real SQLite store, a real client channel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from ipcore.catalogue import METRICS
from iplab.v1 import (
    catalog_service_pb2_grpc,
    experiment_service_pb2,
    experiment_service_pb2_grpc,
    parameterization_service_pb2_grpc,
    report_service_pb2_grpc,
    run_service_pb2_grpc,
)
from ipserver.api.server import ApiConfig, serve
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.store import Store, open_store
from ipserver.store.records.packs import NewPack
from ipserver.store.records.slices import SliceCommit
from ipserver.store.segments import encode
from ipserver.store.states import RunState
from ipserver.store.summary import Summary
from tests.ipserver.support import migrated

STEPS = 20


@dataclass
class Failed:
    """The parts of a failed call's status."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    violations: dict[str, str] = field(default_factory=dict)


@dataclass
class Api:
    """A running server and stubs that talk to it."""

    store: Store
    artifact_root: Path
    port: int
    stop: asyncio.Event
    channel: aio.Channel

    def __post_init__(self) -> None:
        self.experiments = experiment_service_pb2_grpc.ExperimentServiceStub(self.channel)
        self.runs = run_service_pb2_grpc.RunServiceStub(self.channel)
        self.parameterizations = parameterization_service_pb2_grpc.ParameterizationServiceStub(self.channel)
        self.reports = report_service_pb2_grpc.ReportServiceStub(self.channel)
        self.catalog = catalog_service_pb2_grpc.CatalogServiceStub(self.channel)

    @staticmethod
    def request_of(name: str = "e", /, **changes: Any) -> experiment_service_pb2.CreateExperimentRequest:
        """As `create_request`."""
        return create_request(name, **changes)

    async def create(self, name: str = "e", /, **changes: Any) -> Any:
        """Create a small experiment."""
        return await self.experiments.CreateExperiment(create_request(name, **changes))

    async def fails(self, call: Any) -> Failed:
        """The error of a call, which must fail."""
        with pytest.raises(aio.AioRpcError) as caught:
            if hasattr(call, "__aiter__"):
                async for _ in call:
                    pass
            else:
                await call
        return failure(caught.value)


def failure(error: aio.AioRpcError) -> Failed:
    """Split an error into its parts."""
    failed = Failed(error.code(), error.details() or "")
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            failed.reason, failed.domain = info.reason, info.domain
        if detail.Unpack(bad):
            failed.violations = {entry.field: entry.description for entry in bad.field_violations}
    return failed


def create_request(name: str = "e", /, **changes: Any) -> experiment_service_pb2.CreateExperimentRequest:
    """Two parameterizations, two seeds: four runs of 20 steps."""
    grid = {
        "parameterizations": [{"preset": "mup"}, {"preset": "ip-llr"}],
        "widths": [16],
        "hidden_layers": [2],
        "activations": ["relu"],
        "base_learning_rates": [0.1],
        "seeds": [0, 1],
    }
    grid |= changes.pop("grid", {})
    spec = {"dataset": "digits", "batch_size": 32, "steps": STEPS, "grid": grid} | changes.pop("spec", {})
    request = {"experiment_id": name, "experiment": {"spec": spec} | changes.pop("experiment", {})}
    return json_format.ParseDict(request | changes, experiment_service_pb2.CreateExperimentRequest())


@dataclass
class Trainer:
    """Commits slices as a dispatcher would."""

    store: Store

    def plan(self, experiment: str, *packs: tuple[int, ...], first: int = 0) -> None:
        """Plan the oldest experiment, which must be this one, with these packs, numbered from `first` on."""
        leased = self.store.lease_unplanned("tester", 60.0)
        assert leased is not None
        assert leased[0].id == experiment
        self.store.save_plan(
            experiment,
            "tester",
            [
                NewPack(2, 16, "relu", id=f"p{i}", run_indices=indices, steps=STEPS, memory_bytes=1)
                for i, indices in enumerate(packs, first)
            ],
        )

    def lease(self) -> Any:
        """Lease the next pack."""
        leased = self.store.lease_pack(self.store.waiting()[0].id, "tester", 60.0)
        assert leased is not None
        return leased

    def commit(self, pack: Any, first: int, last: int, **more: Any) -> None:
        """Commit steps first .. last with train_loss = run + step / 1000 (and test_loss at the last)."""
        runs = [run.index for run in pack.runs]
        steps = np.arange(first, last + 1)
        run = np.concatenate([np.repeat(runs, len(steps)), runs])
        step = np.concatenate([np.tile(steps, len(runs)), np.full(len(runs), last)])
        metric = np.concatenate([np.zeros(len(runs) * len(steps), int), np.full(len(runs), 2)])
        segment = encode(run, metric, METRICS, step, 1000 * step, run + step / 1000)
        done = last == STEPS
        ended = dict.fromkeys(runs, RunState.SUCCEEDED) if done else {}
        summaries = {
            index: Summary(last_train_loss=index + last / 1000, final_test_accuracy=0.5 if done else None)
            for index in runs
        }
        values = {"segment": segment, "summaries": summaries, "ended": ended, "finished": done} | more
        commit = SliceCommit(first_step=first, last_step=last, **values)
        self.store.commit_slice(pack.experiment.id, pack.id, pack.token, commit)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(migrated(f"sqlite:///{tmp_path / 'iplab.db'}")) as opened:
        yield opened


@pytest.fixture
def trainer(store: Store) -> Trainer:
    return Trainer(store)


@pytest.fixture
def running(store: Store, tmp_path: Path) -> Any:
    """Runs a server: `async with running(watch_capacity=...) as api`."""

    @contextlib.asynccontextmanager
    async def run(options: tuple[tuple[str, Any], ...] = (), **settings: Any) -> Any:
        root = tmp_path / "artifacts"
        root.mkdir(exist_ok=True)
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        config = ApiConfig(
            **{
                "address": "127.0.0.1:0",
                "artifact_root": ArtifactRoot(str(root)),
                "watch_interval": 0.01,
                "processes": 0,
                "grace": 0.5,
            }
            | settings
        )
        server = asyncio.create_task(serve(store, config, stop=stop, ready=ready.set_result))
        await asyncio.wait({server, ready}, return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            await server
        port = ready.result()
        async with aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            try:
                yield Api(store, root, port, stop, channel)
            finally:
                stop.set()
                await server

    return run


@pytest.fixture
async def api(running: Any) -> Any:
    async with running() as served:
        yield served


@pytest.fixture
def request_of() -> Any:
    return create_request


@pytest.fixture
def taken_apart() -> Any:
    return failure

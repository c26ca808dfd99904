"""Runs, metrics and artifacts over a real channel."""

import asyncio
import hashlib

import grpc
import numpy as np
import pytest

from iplab.v1 import run_pb2
from iplab.v1 import run_service_pb2 as pb
from ipserver.api import metrics
from ipserver.store.records.files import NewArtifact
from ipserver.store.records.runs import Failure
from ipserver.store.segments import encode
from ipserver.store.states import FailureReason


async def points_of(api, **query):
    """All points of a query as {(run, metric): [(step, value), ...]} in the order of the stream."""
    points = {}
    async for block in api.runs.QueryMetrics(pb.QueryMetricsRequest(**{"parent": "experiments/e"} | query)):
        columns = (block.run_indices, block.metric_indices, block.steps, block.times_ms, block.values)
        assert 0 < len(block.values) <= 65_536
        for run, metric, step, time_ms, value in zip(*columns, strict=True):
            assert time_ms == 1000 * step
            points.setdefault((run, block.metrics[metric]), []).append((step, value))
    return points


@pytest.fixture
async def trained(api, trainer):
    """Runs 0, 2 in one pack, trained in three slices; 1, 3 in another, trained half."""
    await api.create("e")
    trainer.plan("e", (0, 2), (1, 3))
    whole = trainer.lease()
    trainer.commit(whole, 1, 7)
    trainer.commit(whole, 8, 15)
    trainer.commit(whole, 16, 20)
    trainer.commit(trainer.lease(), 1, 10)
    return api


async def test_a_run_from_start_to_end(trained):
    run = await trained.runs.GetRun(pb.GetRunRequest(name="experiments/e/runs/r00002"))
    assert (run.parameterization, run.width, run.hidden_layers, run.activation) == ("ip-llr", 16, 2, "relu")
    assert (run.base_learning_rate, run.seed, run.state) == (0.1, 0, run_pb2.RUN_STATE_SUCCEEDED)
    assert (run.pack, run.committed_steps, run.steps) == ("p0", 20, 20)
    assert run.summary.last_train_loss == 2 + 20 / 1000
    assert run.summary.final_test_accuracy == 0.5
    assert not run.summary.HasField("diverged_step")
    (attempt,) = run.attempts
    assert (attempt.number, attempt.owner, attempt.first_step) == (1, "tester", 0)
    assert attempt.HasField("end_time")
    unfinished = await trained.runs.GetRun(pb.GetRunRequest(name="experiments/e/runs/r00003"))
    assert unfinished.state == run_pb2.RUN_STATE_RUNNING
    assert not unfinished.summary.HasField("final_test_accuracy")
    assert not unfinished.attempts[0].HasField("end_time")


async def test_a_failed_run_says_why(api, trainer):
    await api.create("e")
    trainer.plan("e", (0, 1, 2, 3))
    pack = trainer.lease()
    failure = Failure(FailureReason.TRAINING_ERROR, "it broke", "Traceback ...", "last line")
    api.store.end_attempt("e", pack.id, pack.token, failure=failure, retry=False)
    run = await api.runs.GetRun(pb.GetRunRequest(name="experiments/e/runs/r00000"))
    assert run.state == run_pb2.RUN_STATE_FAILED
    assert run.failure == run_pb2.Failure(
        reason=run_pb2.FAILURE_REASON_TRAINING_ERROR,
        message="it broke",
        traceback="Traceback ...",
        log_tail="last line",
    )


async def test_runs_by_page_and_filter(trained):
    async def listed(**request):
        answer = await trained.runs.ListRuns(pb.ListRunsRequest(parent="experiments/e", **request))
        return [run.index for run in answer.runs], answer.next_page_token

    first, token = await listed(page_size=3)
    assert first == [0, 1, 2]
    assert await listed(page_size=3, page_token=token) == ([3], "")
    assert (await listed(filter='parameterization = "ip-llr" AND width >= 16'))[0] == [2, 3]
    assert (await listed(filter="state = SUCCEEDED"))[0] == [0, 2]
    assert (await listed(filter="final_test_accuracy > 0.4 AND seed = 0"))[0] == [0, 2]
    assert (await listed(filter="last_train_loss >= 2.5"))[0] == [3]
    assert (await listed(filter="pack = p1 AND index != 1"))[0] == [3]
    failed = await trained.fails(trained.runs.ListRuns(pb.ListRunsRequest(parent="experiments/other")))
    assert failed.code == grpc.StatusCode.NOT_FOUND


async def test_runs_larger_than_a_page_come_one_by_one(api, trainer):
    await api.create("e")
    trainer.plan("e", (0, 2), (1, 3))
    for _ in range(2):
        pack = trainer.lease()
        failure = Failure(FailureReason.TRAINING_ERROR, "it broke", "x" * (3 * 2**20))
        api.store.end_attempt("e", pack.id, pack.token, failure=failure, retry=False)
    pages, token = [], ""
    while not pages or token:
        request = pb.ListRunsRequest(parent="experiments/e", page_size=1000, page_token=token)
        answer = await api.runs.ListRuns(request)
        pages.append([run.index for run in answer.runs])
        token = answer.next_page_token
    assert pages == [[0], [1], [2], [3]]


async def test_cancelling_a_queued_and_a_running_run(trained):
    await trained.create("other")
    name = "experiments/other/runs/r00001"
    cancelled = await trained.runs.CancelRun(pb.CancelRunRequest(name=name))
    assert cancelled.state == run_pb2.RUN_STATE_CANCELLED
    running = await trained.runs.CancelRun(pb.CancelRunRequest(name="experiments/e/runs/r00003"))
    assert running.state == run_pb2.RUN_STATE_CANCELLING
    ended = await trained.runs.CancelRun(pb.CancelRunRequest(name="experiments/e/runs/r00000"))
    assert ended.state == run_pb2.RUN_STATE_SUCCEEDED


async def test_metrics_over_several_segments(trained):
    points = await points_of(trained)
    assert points[0, "train_loss"] == [(step, step / 1000) for step in range(1, 21)]
    assert points[3, "train_loss"] == [(step, 3 + step / 1000) for step in range(1, 11)]
    assert [step for step, _ in points[2, "test_loss"]] == [7, 15, 20]
    assert set(points) == {(run, name) for run in range(4) for name in ("train_loss", "test_loss")}


async def test_metrics_of_some_runs_names_and_steps(trained):
    some = await points_of(trained, filter="seed = 1", metrics=["train_loss"], first_step=7, last_step=9)
    assert some == {
        (1, "train_loss"): [(step, 1 + step / 1000) for step in (7, 8, 9)],
        (3, "train_loss"): [(step, 3 + step / 1000) for step in (7, 8, 9)],
    }
    assert await points_of(trained, filter="state = FAILED") == {}
    assert await points_of(trained, first_step=21) == {}
    assert set(await points_of(trained, metrics=["test_accuracy"])) == set()


async def test_large_answers_come_in_blocks(trained, monkeypatch):
    monkeypatch.setattr(metrics, "MAX_POINTS", 7)
    # More runs match than are looked up one by one, so all packs are read and their points masked.
    monkeypatch.setattr(metrics, "_FEW_RUNS", 1)
    sizes = []
    request = pb.QueryMetricsRequest(parent="experiments/e", filter="index >= 1", metrics=["train_loss"])
    points = {}
    async for block in trained.runs.QueryMetrics(request):
        sizes.append(len(block.values))
        for run, step in zip(block.run_indices, block.steps, strict=True):
            points.setdefault(run, []).append(step)
    assert sizes == [7] * (40 // 7) + [40 % 7]
    assert points == {2: list(range(1, 21)), 1: list(range(1, 11)), 3: list(range(1, 11))}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"metrics": ["train_loss", "tset_loss"]}, "metrics[1]"),
        ({"first_step": -1}, "first_step"),
        ({"first_step": 5, "last_step": 4}, "last_step"),
        ({"filter": "width ="}, "filter"),
        ({"parent": "e"}, "parent"),
    ],
)
async def test_wrong_queries(api, query, field):
    await api.create("e")
    request = pb.QueryMetricsRequest(**{"parent": "experiments/e"} | query)
    assert set((await api.fails(api.runs.QueryMetrics(request))).violations) == {field}


PROBED = {"record": {"probes": {"quantities": ["coordinates"], "steps": [0, 5]}}}


async def test_metrics_of_probes_by_name_and_by_quantity(api, trainer):
    await api.create("e", spec=PROBED)
    trainer.plan("e", (0, 1, 2, 3))
    # Another order of names in each segment, as those of another pack or version could have.
    pack = trainer.lease()
    for first, last, names in ((1, 10, ["h/1", "h/2", "x/1"]), (11, 20, ["x/1", "train_loss", "h/2"])):
        segment = encode([0, 0, 1], [0, 1, 2], names, [last] * 3, [1000 * last] * 3, [1.0, 2.0, 3.0])
        trainer.commit(pack, first, last, segment=segment)
    assert await points_of(api, metrics=["h/2"]) == {(0, "h/2"): [(10, 2.0)], (1, "h/2"): [(20, 3.0)]}
    assert await points_of(api, metrics=["h/*", "train_loss"], filter="index = 0") == {
        (0, "h/1"): [(10, 1.0)],
        (0, "h/2"): [(10, 2.0)],
        (0, "train_loss"): [(20, 2.0)],
    }
    assert set(await points_of(api)) == {
        *((0, name) for name in ("h/1", "h/2", "x/1", "train_loss")),
        *((1, name) for name in ("x/1", "h/2")),
    }


@pytest.mark.parametrize(
    ("name", "hint"),
    [("h_chnage/2", "'h_change/2'"), ("h/4", "'h/3'"), ("gradient/1", "h/*, x/*"), ("cka/*", "x_change/*")],
)
async def test_metrics_that_the_experiment_does_not_record(api, name, hint):
    """L = 2 and coordinates: h and its change in layers 1..3, x and its change in 1..2."""
    await api.create("e", spec=PROBED)
    request = pb.QueryMetricsRequest(parent="experiments/e", metrics=[name])
    text = (await api.fails(api.runs.QueryMetrics(request))).violations["metrics[0]"]
    assert hint in text
    assert "t records: train_loss, train_accuracy, test_loss, test_accuracy, h/*" in text


async def test_metrics_of_no_experiment(api):
    call = api.runs.QueryMetrics(pb.QueryMetricsRequest(parent="experiments/nothing"))
    assert (await api.fails(call)).code == grpc.StatusCode.NOT_FOUND


@pytest.fixture
async def weights(api, trainer):
    """Run 0 with a file of 2.5 MiB."""
    content = np.random.default_rng(0).bytes(5 * 2**19)
    await api.create("e")
    trainer.plan("e", (0, 1, 2, 3))
    pack = trainer.lease()
    location = f"e/weights/p0/{pack.token}/r00000-final.safetensors"
    file = api.artifact_root / location
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    files = [
        NewArtifact(0, "weights/final.safetensors", location, len(content), sha256, 20),
        NewArtifact(0, "weights/escape.bin", "../iplab.db", 3, "0" * 64, 20),
        NewArtifact(0, "spec.json", "e/r00000/nowhere.json", 3, "0" * 64, 20),
    ]
    trainer.commit(pack, 1, 20, artifacts=tuple(files))
    api.content, api.file = content, file
    return api


async def read(api, path, offset=0):
    name = f"experiments/e/runs/r00000/artifacts/{path}"
    return [c async for c in api.runs.ReadArtifact(pb.ReadArtifactRequest(name=name, offset=offset))]


async def damage(api, path, offset=0):
    name = f"experiments/e/runs/r00000/artifacts/{path}"
    return await api.fails(api.runs.ReadArtifact(pb.ReadArtifactRequest(name=name, offset=offset)))


async def test_artifacts_by_page(weights):
    async def listed(**request):
        request = pb.ListArtifactsRequest(parent="experiments/e/runs/r00000", **request)
        return await weights.runs.ListArtifacts(request)

    first = await listed(page_size=2)
    assert [file.path for file in first.artifacts] == ["spec.json", "weights/escape.bin"]
    last = await listed(page_size=2, page_token=first.next_page_token)
    (file,) = last.artifacts
    assert file.name == "experiments/e/runs/r00000/artifacts/weights/final.safetensors"
    assert (file.size_bytes, file.step, last.next_page_token) == (5 * 2**19, 20, "")
    assert file.sha256 == hashlib.sha256(weights.content).hexdigest()


async def test_a_file_comes_in_chunks_and_from_any_place(weights):
    chunks = await read(weights, "weights/final.safetensors")
    assert [(chunk.offset, len(chunk.data)) for chunk in chunks] == [
        (0, 2**20),
        (2**20, 2**20),
        (2**21, 2**19),
    ]
    assert b"".join(chunk.data for chunk in chunks) == weights.content
    (rest,) = await read(weights, "weights/final.safetensors", offset=5 * 2**19 - 3)
    assert rest.data == weights.content[-3:]
    assert await read(weights, "weights/final.safetensors", offset=5 * 2**19) == []
    beyond = await damage(weights, "weights/final.safetensors", offset=5 * 2**19 + 1)
    assert set(beyond.violations) == {"offset"}


async def test_damage_is_noticed(weights):
    for path, told in [
        ("spec.json", "is missing"),
        ("weights/escape.bin", "outside the artifact folder"),
    ]:
        failed = await damage(weights, path)
        assert (failed.code, failed.reason) == (grpc.StatusCode.DATA_LOSS, "ARTIFACT_DAMAGED")
        assert told in failed.message
    weights.file.write_bytes(weights.content[:-1])
    assert "bytes but 2621440 were committed" in (await damage(weights, "weights/final.safetensors")).message
    weights.file.write_bytes(b"x" + weights.content[1:])
    assert "checksum" in (await damage(weights, "weights/final.safetensors")).message


async def test_files_that_are_not_there(weights):
    assert (await damage(weights, "weights/initial.safetensors")).code == grpc.StatusCode.NOT_FOUND
    assert set((await damage(weights, "../../secret")).violations) == {"name"}


async def test_a_slow_reader_does_not_hold_up_others(weights):
    slow = weights.runs.ReadArtifact(
        pb.ReadArtifactRequest(name="experiments/e/runs/r00000/artifacts/weights/final.safetensors")
    )
    assert (await slow.read()).offset == 0
    runs = [weights.runs.GetRun(pb.GetRunRequest(name=f"experiments/e/runs/r0000{i}")) for i in range(4)]
    assert [run.index for run in await asyncio.gather(*runs)] == [0, 1, 2, 3]
    slow.cancel()

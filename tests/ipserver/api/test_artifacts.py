"""Artifacts in S3, read over a real channel."""

import hashlib
from dataclasses import replace

import grpc
import numpy as np
import pytest

from iplab.v1 import run_service_pb2 as pb
from ipserver.artifacts import open_artifacts
from ipserver.artifacts import s3 as s3_module
from ipserver.store.records.files import NewArtifact

NAME = "experiments/e/runs/r00000/artifacts/weights/final.safetensors"
LOCATION = "e/weights/p0000/1/r00000-final.safetensors"


@pytest.fixture
def root(s3):
    return s3.root()


@pytest.fixture
async def api(running, root, trainer):
    """Run 0 with a file of 10.5 MiB in S3."""
    content = np.random.default_rng(0).bytes(21 * 2**19)
    open_artifacts(root).put(LOCATION, lambda path: path.write_bytes(content))
    async with running(artifact_root=root) as api:
        await api.create("e")
        trainer.plan("e", (0, 1, 2, 3))
        sha256 = hashlib.sha256(content).hexdigest()
        artifact = NewArtifact(0, "weights/final.safetensors", LOCATION, len(content), sha256, 20)
        trainer.commit(trainer.lease(), 1, 20, artifacts=(artifact,))
        api.content = content
        yield api


def read(api, offset=0):
    return api.runs.ReadArtifact(pb.ReadArtifactRequest(name=NAME, offset=offset))


async def test_a_file_comes_in_chunks_from_any_place(api):
    for offset in (0, 1, 2**20, 9 * 2**20 + 7, 21 * 2**19):
        chunks = [chunk async for chunk in read(api, offset)]

        assert b"".join(chunk.data for chunk in chunks) == api.content[offset:], offset
        assert all(len(chunk.data) <= 2**20 for chunk in chunks)
        positions = [offset + sum(len(c.data) for c in chunks[:i]) for i in range(len(chunks))]
        assert [chunk.offset for chunk in chunks] == positions


async def test_readers_at_the_same_time(api):
    streams = [read(api) for _ in range(4)]
    for stream in streams:
        assert b"".join([chunk.data async for chunk in stream]) == api.content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: None, "is missing"),
        (lambda content: content[:-1], "bytes but 11010048 were committed"),
        (lambda content: content[:-1] + b"?", "no longer has the checksum"),
    ],
)
async def test_damage_is_noticed(api, s3, root, change, message):
    bucket, changed = root.url.split("/")[2], change(api.content)
    if changed is None:
        s3.client.delete_object(Bucket=bucket, Key=f"lab/{LOCATION}")
    else:
        s3.client.put_object(Bucket=bucket, Key=f"lab/{LOCATION}", Body=changed)

    failed = await api.fails(read(api))

    assert (failed.code, failed.reason) == (grpc.StatusCode.DATA_LOSS, "ARTIFACT_DAMAGED")
    assert message in failed.message


async def test_an_outage_of_s3_is_unavailable_not_damage(running, api, root, monkeypatch):
    monkeypatch.setattr(s3_module, "_ATTEMPTS", 1)
    async with running(artifact_root=replace(root, endpoint_url="http://127.0.0.1:1")) as other:
        failed = await other.fails(read(other))

    assert failed.code is grpc.StatusCode.UNAVAILABLE
    assert "Could not connect" in failed.message

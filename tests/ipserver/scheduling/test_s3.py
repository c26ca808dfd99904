"""Training with weights and checkpoints in S3: retention, resuming, damage, outages."""

import hashlib

import pytest
import sqlalchemy as sa

from ipserver.artifacts import open_artifacts
from ipserver.artifacts import s3 as s3_module
from ipserver.scheduling import retries
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState, FailureReason
from ipserver.store.tables import checkpoints
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.s3 import KEY, SECRET
from tests.ipserver.scheduling.cases import run_until
from tests.ipserver.support import settings_in, small_spec, submit


@pytest.fixture
def root(s3):
    return s3.root()


@pytest.fixture
def settings(tmp_path, s3, root):
    keys = {"s3_access_key_id": KEY, "s3_secret_access_key": SECRET}
    every = {"slice_seconds": 1e-9, "checkpoint_seconds": 1e-9}  # one update per slice and checkpoint
    return settings_in(tmp_path, artifacts=root.url, s3_endpoint_url=s3.endpoint, **every, **keys)


def ended(store):
    return lambda: store.get_experiment("e").state.terminal


def notices(store):
    return [str(e.payload["message"]) for e in store.events("e", after=0, limit=1000) if e.kind == "notice"]


def interrupted(store, settings):
    """Train a part of an experiment, and give its packs back with checkpoints."""
    submit(store, small_spec(steps=24))
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, settings, "d0")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)
    for _ in range(5):
        dispatcher.step()
    dispatcher.drain()
    executor.close()


def finished(store, settings):
    executor = LocalExecutor()
    run_until(Dispatcher(store, executor, settings, "d1"), ended(store))
    executor.close()
    return store.get_experiment("e").state


def test_training_is_resumed_from_s3_and_leaves_only_weights_there(store, settings, s3, root):
    interrupted(store, settings)
    with store.database.engine.connect() as connection:
        committed = sorted(f"lab/{path}" for path in connection.scalars(sa.select(checkpoints.c.path)))
    there = [key for key in s3.keys(root) if "/checkpoints/" in key]
    assert len(committed) == 2
    # Older ones were removed with the commits of newer ones; an abandoned slice may have left another.
    assert [key for key in there if key <= committed[-1]] == committed

    assert finished(store, settings) is ExperimentState.SUCCEEDED

    assert any("resumed from the checkpoint of step" in notice for notice in notices(store))
    artifacts = [store.get_artifact("e", index, "weights/final.safetensors") for index in range(4)]
    assert s3.keys(root) == sorted(f"lab/{artifact.location}" for artifact in artifacts)
    for artifact in artifacts:
        data = b"".join(open_artifacts(root).chunks(artifact.location))
        assert (len(data), hashlib.sha256(data).hexdigest()) == (artifact.size_bytes, artifact.sha256)


def test_a_checkpoint_that_was_changed_in_s3_is_not_used(store, settings, s3, root):
    interrupted(store, settings)
    bucket = root.url.split("/")[2]
    for key in s3.keys(root):
        data = s3.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.client.put_object(Bucket=bucket, Key=key, Body=data[:-1] + bytes([data[-1] ^ 1]))

    assert finished(store, settings) is ExperimentState.SUCCEEDED

    told = notices(store)
    assert any("not used: s3://" in notice and "recorded checksum" in notice for notice in told)
    assert not any("resumed" in notice for notice in told)


def test_an_outage_of_s3_is_tried_again_until_it_is_over(store, settings, s3, monkeypatch):
    """The store refuses two slices; the third attempt succeeds."""
    monkeypatch.setattr(s3_module, "_ATTEMPTS", 1)
    submit(store, small_spec())
    executor = LocalExecutor()
    monkeypatch.setattr(retries, "_SHORTEST_REST", 0.01)
    dispatcher = Dispatcher(store, executor, settings, "d")
    s3.refuse_everybody(refuse=True)
    try:
        run_until(dispatcher, lambda: len(store.attempts("e", 0)) == 3)
    finally:
        s3.refuse_everybody(refuse=False)
    run_until(dispatcher, ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    first = store.attempts("e", 0)[0]
    assert first.end_reason is FailureReason.ARTIFACTS_UNAVAILABLE
    assert any("ArtifactsUnavailable" in notice for notice in notices(store))
    assert not any(SECRET in notice for notice in notices(store))

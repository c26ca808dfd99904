"""Runs, their weights and files, on a real service."""

import hashlib

import numpy as np
import pytest

import iplab
from ipcore import Network, evaluate, load_dataset
from iplab.results.artifacts import weights_file
from iplab.results.run import Run
from iplab.v1 import run_pb2


def test_a_diverged_run_says_why_it_has_no_final_weights():
    message = run_pb2.Run(name="experiments/e/runs/r00004", state="RUN_STATE_DIVERGED")
    with pytest.raises(
        iplab.NotFoundError, match=r"DIVERGED .* there are: none; a run that diverges leaves no final weights"
    ):
        weights_file(Run(None, message), [], "final")


@pytest.fixture
def run(trained):
    return trained.run(2)


def damage(service, run, change):
    """Change the stored file of the run's final weights; return a function that restores it."""
    artifact = service.store.get_artifact("trained", run.index, "weights/final.safetensors")
    file = service.settings.artifact_root.folder / artifact.location
    whole = file.read_bytes()
    file.unlink()
    file.write_bytes(change(whole))
    return lambda: file.write_bytes(whole)


def test_a_run_is_found_by_index_and_id(trained, run):
    assert trained.run("r00002").name == run.name == "experiments/trained/runs/r00002"
    assert (run.width, run.parameterization, run.seed) == (8, "llr", 0)
    assert run.state is iplab.RunState.SUCCEEDED
    assert run.committed_steps == run.steps == 20
    assert len(run.calibrated_rates) == 3, "one first rate per layer"
    assert run.failure is None
    assert run.refresh() is run
    with pytest.raises(iplab.NotFoundError):
        trained.run(8)
    with pytest.raises(iplab.InvalidRequestError):
        trained.run("second")


def test_final_weights_give_the_recorded_metrics_exactly(run, tmp_path):
    network = Network.load(run.download("weights/final.safetensors", tmp_path))
    measured = evaluate(network, load_dataset("digits").test)
    assert measured.loss == run.final_test_loss
    assert measured.accuracy == run.final_test_accuracy


def test_weights_are_arrays_with_their_origin(run):
    final, initial = run.weights(), run.weights("initial")
    shapes = sorted(array.shape for array in final.arrays.values() if array.ndim == 2)
    assert shapes == sorted([(8, 64), (8, 8), (10, 8)])
    assert all(array.dtype == np.float32 for array in final.arrays.values())
    assert any(not np.array_equal(final.arrays[name], initial.arrays[name]) for name in final.arrays)
    assert final.metadata["seed"] == "0"
    assert [run.weights(step).metadata for step in (0, 20)] == [initial.metadata, final.metadata]


def test_weights_that_were_not_kept_are_named(run):
    with pytest.raises(iplab.NotFoundError, match=r"weights/final\.safetensors \(step 20\)"):
        run.weights(7)


def test_a_download_is_whole_or_not_there(service, run, tmp_path):
    target = tmp_path / "w.safetensors"
    artifact = next(a for a in run.artifacts() if a.path == "weights/final.safetensors")
    assert run.download(artifact, target) == target
    assert hashlib.sha256(target.read_bytes()).hexdigest() == artifact.sha256
    assert target.stat().st_size == artifact.size_bytes
    before = target.read_bytes()
    restore = damage(service, run, lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(iplab.ArtifactDamagedError, match="checksum"):
            run.download(artifact, target)
        with pytest.raises(iplab.ArtifactDamagedError):
            run.weights()
    finally:
        restore()
    assert target.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"], "no part is left behind"


def test_a_file_that_lost_bytes_is_damaged(service, run):
    restore = damage(service, run, lambda whole: whole[:-1])
    try:
        with pytest.raises(iplab.ArtifactDamagedError):
            run.weights()
    finally:
        restore()


def test_bytes_that_change_on_the_way_are_noticed(run, monkeypatch):
    transport, stream = run._transport, run._transport.stream

    def flipped(method, request, timeout=None):
        for chunk in stream(method, request, timeout):
            if hasattr(chunk, "data"):
                chunk.data = chunk.data[:-1] + bytes([chunk.data[-1] ^ 1])
            yield chunk

    monkeypatch.setattr(transport, "stream", flipped)
    with pytest.raises(iplab.ArtifactDamagedError, match=r"SHA-256 .* recorded are"):
        run.weights()


def test_reading_goes_on_where_it_was_interrupted(run, monkeypatch, impatient):
    artifact = run.artifacts()[0]
    transport, whole = run._transport, run.read(artifact)
    stream, offsets = transport.stream, []

    def interrupted(method, request, timeout=None):
        offsets.append(request.offset)
        for chunk in stream(method, request, timeout):
            if len(offsets) == 1:  # half a chunk, then the connection is gone
                chunk.data = chunk.data[: len(chunk.data) // 2]
                yield chunk
                raise iplab.UnavailableError("gone")
            yield chunk

    monkeypatch.setattr(transport, "stream", interrupted)
    assert run.read(artifact) == whole
    assert offsets == [0, len(whole) // 2]


def test_an_unknown_file_is_named_with_what_there_is(run, tmp_path):
    with pytest.raises(iplab.NotFoundError, match=r"spec\.yaml.*weights/final\.safetensors"):
        run.download("spec.yaml", tmp_path)


def test_a_runs_own_metrics(run):
    steps, accuracies = run.metrics(names=("test_accuracy",)).series(2, "test_accuracy")
    assert steps.tolist() == [0, 20]
    assert accuracies[-1] == run.final_test_accuracy


def test_one_run_can_be_cancelled(client):
    from tests.iplab.conftest import small_spec

    experiment = client.create(small_spec())
    run = experiment.run(1).cancel()
    assert run.state is iplab.RunState.CANCELLED
    assert experiment.refresh().counts.cancelled == 1
    experiment.cancel()


def test_plain_values(run):
    plain = run.to_dict()
    assert plain["state"] == "SUCCEEDED"
    assert plain["summary"]["diverged_step"] is None
    assert plain["failure"] is None
    assert plain["attempts"][0]["end_reason"] is None

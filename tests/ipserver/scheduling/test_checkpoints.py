"""A pack resumes from the newest valid checkpoint, in a folder and in S3, and the events say so."""

import threading
from concurrent.futures import wait
from dataclasses import replace

import pytest
import sqlalchemy as sa
import torch

import ipcore.training.checkpoint
from ipcore.models.files import read_tensors, write_tensors
from ipserver.artifacts import open_artifacts
from ipserver.scheduling.assembly import make_job
from ipserver.store.records.packs import NewPack
from ipserver.store.tables import checkpoints
from ipserver.workers.trainer import PackTrainer
from tests.ipserver.s3 import KEY, SECRET
from tests.ipserver.support import settings_in, small_spec, store_in, submit

STEPS = 20


@pytest.fixture(params=["folder", "s3"])
def settings(request, tmp_path):
    options = {"slice_seconds": 1e-9, "checkpoint_seconds": 1e9}  # one update per slice
    if request.param == "s3":
        s3 = request.getfixturevalue("s3")
        keys = {"s3_access_key_id": KEY, "s3_secret_access_key": SECRET}
        options |= {"artifacts": s3.root().url, "s3_endpoint_url": s3.endpoint, **keys}
    return settings_in(tmp_path, **options)


@pytest.fixture
def store(settings):
    store = store_in(settings)
    plan(store, small_spec(steps=STEPS), "e")
    return store


@pytest.fixture
def files(settings):
    return open_artifacts(settings.artifact_root)


def plan(store, spec, experiment):
    submit(store, spec, experiment)
    assert store.lease_unplanned("planner", 60)[0].id == experiment
    pack = NewPack(
        id="p0000",
        run_indices=(0, 1, 2, 3),
        hidden_layers=2,
        width=16,
        activation="relu",
        steps=STEPS,
        memory_bytes=1,
    )
    store.save_plan(experiment, "planner", [pack])


def interrupted(store, settings, experiment="e", steps=(3, 5)):
    """Train to the last of these steps, with a checkpoint at each; return the checkpoints, newest first."""
    pack = store.lease_pack(experiment, "d", 60)
    trainer = PackTrainer(make_job(pack, settings))
    for step in range(1, steps[-1] + 1):
        report = trainer.advance(checkpoint=step in steps)
        store.commit_slice(experiment, pack.id, pack.token, report.commit)
    store.end_attempt(experiment, pack.id, pack.token, failure=None, retry=True)
    return store.lease_pack(experiment, "d", 60).checkpoints


def resumed(store, settings, experiment="e"):
    """The notices of the next attempt at its start, and the step from which it resumes."""
    pack = store.lease_pack(experiment, "d", 60)
    if pack is None:  # already leased by `interrupted`
        store.end_attempt(experiment, "p0000", 2, failure=None, retry=True)
        pack = store.lease_pack(experiment, "d", 60)
    trainer = PackTrainer(make_job(pack, settings))
    report = trainer.advance()
    assert report.failure is None, report.failure
    first = report.commit.first_step - 1 if report.commit else trainer._trainer.step - 1
    return report.notices, first


def content(files, record):
    return b"".join(files.chunks(record.path))


def put(files, record, data):
    return files.put(record.path, lambda path: path.write_bytes(data))


def test_the_newest_checkpoint_is_the_start(store, settings):
    newest, older = interrupted(store, settings)
    assert (newest.step, older.step) == (5, 3)

    assert resumed(store, settings) == (("pack p0000: resumed from the checkpoint of step 5",), 5)


DAMAGES = {
    "torn": lambda data: data[: len(data) // 2],
    "short of a byte": lambda data: data[:-1],
    "empty": lambda _: b"",
    "one bit": lambda data: data[:-9] + bytes([data[-9] ^ 4]) + data[-8:],
    "zeros at the end, as after a crash": lambda data: data[:-64] + bytes(64),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_one_is_passed_over_for_the_next(store, settings, files, damage):
    newest, _ = interrupted(store, settings)
    put(files, newest, damage(content(files, newest)))

    (refused, taken, again), step = resumed(store, settings)

    assert refused.startswith("pack p0000: checkpoint of step 5 not used: ")
    assert "does not have its recorded checksum" in refused
    assert taken == "pack p0000: resumed from the checkpoint of step 3"
    assert again == "pack p0000: trains steps 4 to 5 again"
    assert step == 3


def test_a_lost_one_is_passed_over_for_the_next(store, settings, files):
    newest, _ = interrupted(store, settings)
    files.delete([newest.path])

    (refused, taken, _), step = resumed(store, settings)

    assert refused.startswith("pack p0000: checkpoint of step 5 not used: ")
    assert (taken, step) == ("pack p0000: resumed from the checkpoint of step 3", 3)


def test_without_a_valid_one_it_starts_again(store, settings, files):
    records = interrupted(store, settings)
    files.delete(record.path for record in records)

    notices, step = resumed(store, settings)

    assert [notice.split(": ")[1] for notice in notices] == [
        "checkpoint of step 5 not used",
        "checkpoint of step 3 not used",
        "trains steps 1 to 5 again",
    ]
    assert step == 0


def replaced(store, files, record, data):
    """Replace a checkpoint by other bytes, and change the store's digest to match."""
    stored = put(files, record, data)
    with store.database.engine.begin() as connection:
        connection.execute(
            sa.update(checkpoints)
            .where(checkpoints.c.path == record.path)
            .values(sha256=stored.sha256, size_bytes=stored.size_bytes)
        )


@pytest.mark.parametrize("other", [{"seeds": [2, 3]}, {"base_learning_rates": [0.2]}], ids=["seeds", "rate"])
def test_one_of_another_experiment_is_never_chosen(store, settings, files, other):
    newest, _ = interrupted(store, settings)
    plan(store, small_spec(steps=STEPS, grid=other), "other")
    foreign, _ = interrupted(store, settings, "other")
    replaced(store, files, newest, content(files, foreign))

    (refused, taken, _), step = resumed(store, settings)

    assert "belongs to another pack" in refused
    assert (taken, step) == ("pack p0000: resumed from the checkpoint of step 3", 3)


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        ({"format": "iplab-checkpoint/0"}, {}, "has format 'iplab-checkpoint/0'"),
        ({}, {"W2": None}, "does not hold what this version resumes from: W2"),
    ],
)
def test_one_of_an_incompatible_version_is_never_chosen(
    store, settings, files, tmp_path, header, tensors, message
):
    newest, _ = interrupted(store, settings)
    with files.reading(newest.path, newest.sha256) as path:
        held, written = read_tensors(path)
    held = {name: tensor for name, tensor in (held | tensors).items() if tensor is not None}
    write_tensors(tmp_path / "changed", held, written | header)
    replaced(store, files, newest, (tmp_path / "changed").read_bytes())

    (refused, taken, _), step = resumed(store, settings)

    assert message in refused
    assert (taken, step) == ("pack p0000: resumed from the checkpoint of step 3", 3)


def test_one_that_no_commit_has_named_is_never_chosen(store, settings, files):
    """A complete and newer checkpoint of a worker that was cut off before its commit is not used."""
    pack = store.lease_pack("e", "d", 60)
    trainer = PackTrainer(make_job(pack, settings))
    for step in (1, 2, 3):
        commit = trainer.advance(checkpoint=step == 2).commit
        store.commit_slice("e", pack.id, pack.token, commit)
    assert files.size(trainer.advance(checkpoint=True).commit.checkpoint.path)
    store.end_attempt("e", pack.id, pack.token, failure=None, retry=True)

    notices, step = resumed(store, settings)

    assert notices == (
        "pack p0000: resumed from the checkpoint of step 2",
        "pack p0000: trains steps 3 to 3 again",
        "pack p0000: at step 3 of 3 again",
    )
    assert step == 2


def test_the_newest_two_are_kept(store, settings, files):
    pack = store.lease_pack("e", "d", 60)
    trainer = PackTrainer(make_job(pack, settings))
    for _ in range(5):
        commit = trainer.advance(checkpoint=True).commit
        result = store.commit_slice("e", pack.id, pack.token, commit)
        files.delete(result.obsolete_checkpoints)

    names = sorted(place.rpartition("/")[2] for place in files.below("e/checkpoints"))
    assert names == ["step-00000004.safetensors", "step-00000005.safetensors"]


def test_they_are_written_by_the_clock(store, settings):
    """30 s after the last one, even if that one failed."""
    now = [0.0]
    pack = store.lease_pack("e", "d", 60)
    job = replace(make_job(pack, settings), checkpoint_seconds=30.0)
    trainer = PackTrainer(job, lambda: now[0])
    written = []
    for second in (0, 10, 29, 30, 31, 59, 61, 62, 90, 91):
        now[0] = float(second)
        written.append((second, trainer.advance().commit.checkpoint is not None))

    assert [second for second, there in written if there] == [30, 61, 91]


def test_on_a_gpu_checkpoints_are_written_behind_training(store, settings):
    """Here on the CPU: a checkpoint has the state of its start, although training continued meanwhile."""
    pack = store.lease_pack("e", "d", 60)
    job = replace(make_job(pack, settings), checkpoint_seconds=0.0)
    trainer = PackTrainer(job, behind=True)
    gate = threading.Event()
    put = trainer._artifacts.put
    trainer._artifacts.put = lambda location, write: (gate.wait(60), put(location, write))[1]

    first = [trainer.advance().commit for _ in range(3)]
    assert [commit.checkpoint for commit in first] == [None] * 3  # it is being written meanwhile
    gate.set()
    wait([trainer._checkpoints._writing])
    record = trainer.advance().commit.checkpoint
    assert record.step == 1

    again = PackTrainer(make_job(pack, settings))
    again.advance()
    expected = ipcore.training.checkpoint.take(again._trainer).tensors
    with open_artifacts(settings.artifact_root).reading(record.path, record.sha256) as path:
        found, _ = read_tensors(path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    asked = trainer.advance(checkpoint=True).commit
    assert asked.checkpoint.step == asked.last_step == 5


def test_nothing_is_written_behind_a_pack_that_has_ended(store, settings):
    pack = store.lease_pack("e", "d", 60)
    trainer = PackTrainer(replace(make_job(pack, settings), checkpoint_seconds=0.0), behind=True)
    while not (commit := trainer.advance().commit).finished:
        pass

    assert commit.checkpoint is None
    assert trainer._checkpoints._writing is None or trainer._checkpoints._writing.done()

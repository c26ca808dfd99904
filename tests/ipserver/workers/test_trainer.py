"""One attempt at a pack, slice by slice, without an executor: repeated steps and written files."""

import gc
import itertools
import weakref
from pathlib import Path

import pytest
import torch

from ipcore.catalogue.widths import INFINITE_WIDTH
from ipserver.artifacts import open_artifacts
from ipserver.errors import ArtifactsUnavailable
from ipserver.scheduling.assembly import make_job
from ipserver.store.records.packs import NewPack
from ipserver.store.segments import decode
from ipserver.store.states import FailureReason, RunState
from ipserver.workers.trainer import PackTrainer
from tests.ipserver.support import settings_in, small_spec, store_in, submit

STEPS = 20


@pytest.fixture
def settings(tmp_path):
    # One update per slice, since the clock is read after each update.
    return settings_in(tmp_path, slice_seconds=1e-9, checkpoint_seconds=1e9)


@pytest.fixture
def store(settings):
    store = store_in(settings)
    submit(store, small_spec(steps=STEPS, record={"weights": "initial_and_final"}))
    pack = NewPack(
        id="p0000",
        run_indices=(0, 1, 2, 3),
        hidden_layers=2,
        width=16,
        activation="relu",
        steps=STEPS,
        memory_bytes=1,
    )
    store.lease_unplanned("planner", 60)
    store.save_plan("e", "planner", [pack])
    return store


def attempt(store, settings):
    """A new lease and its trainer."""
    pack = store.lease_pack("e", "d", 60)
    return pack, PackTrainer(make_job(pack, settings))


def train(store, pack, trainer, slices, **options):
    """Train and commit a number of slices; return the notices and the paths of committed artifacts."""
    told, paths = [], []
    for _ in range(slices):
        report = trainer.advance(**options)
        assert report.failure is None, report.failure
        told += report.notices
        if report.commit is None:
            store.settle("e", pack.id, pack.token, report.repeated.checkpoint)
        else:
            store.commit_slice("e", pack.id, pack.token, report.commit)
            paths += [(new.run_index, new.path) for new in report.commit.artifacts]
            if report.commit.finished:
                break
    return told, paths


def give_back(store, pack):
    store.end_attempt("e", pack.id, pack.token, failure=None, retry=True)


def test_what_is_committed_is_trained_again_in_slices(store, settings):
    pack, trainer = attempt(store, settings)
    train(store, pack, trainer, 10)
    give_back(store, pack)
    pack, trainer = attempt(store, settings)
    assert pack.committed_steps == 10

    reports = [trainer.advance() for _ in range(11)]

    assert [report.commit is None for report in reports] == [True] * 10 + [False]
    assert (reports[10].commit.first_step, reports[10].commit.last_step) == (11, 11)
    assert reports[0].notices == ("pack p0000: trains steps 1 to 10 again",)
    assert reports[9].notices == ("pack p0000: at step 10 of 10 again",)


def test_weights_are_written_once_and_none_are_left_out(store, settings):
    """Interrupted after every second slice, from the start or from a checkpoint: each file exactly once."""
    written = []
    for turn in range(STEPS):
        pack, trainer = attempt(store, settings)
        again = pack.committed_steps - max((record.step for record in pack.checkpoints), default=0)
        written += train(store, pack, trainer, again + 2, checkpoint=turn == 2)[1]
        if store.get_experiment("e").state.terminal:
            break
        give_back(store, pack)

    assert {run.state for run in store.list_runs("e", limit=10)} == {RunState.SUCCEEDED}
    names = ("weights/initial.safetensors", "weights/final.safetensors")
    assert sorted(written) == sorted((index, name) for index in range(4) for name in names)
    artifacts = open_artifacts(settings.artifact_root)
    for index in range(4):
        for record in store.artifacts("e", index):
            with artifacts.reading(record.location, record.sha256) as path:
                assert path.stat().st_size == record.size_bytes


def test_a_cancelled_run_ends_while_steps_are_trained_again(store, settings):
    pack, trainer = attempt(store, settings)
    train(store, pack, trainer, 10)
    give_back(store, pack)
    pack, trainer = attempt(store, settings)
    train(store, pack, trainer, 2)

    store.cancel_run("e", 1)
    assert store.get_run("e", 1).state is RunState.CANCELLING
    train(store, pack, trainer, 1)

    assert store.get_run("e", 1).state is RunState.CANCELLED
    store.cancel_experiment("e")
    result = store.settle("e", pack.id, pack.token)
    assert (result.done, result.ended) == (True, frozenset(range(4)))
    assert store.attempts("e", 0)[-1].end_time is not None


def test_a_checkpoint_on_the_way_is_kept_though_later_ones_were_there(store, settings):
    pack, trainer = attempt(store, settings)
    train(store, pack, trainer, 4, checkpoint=True)
    give_back(store, pack)
    for path in settings.artifact_root.folder.glob("e/checkpoints/**/*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    pack, trainer = attempt(store, settings)
    assert [record.step for record in pack.checkpoints] == [4, 3]

    told, _ = train(store, pack, trainer, 2, checkpoint=True)
    give_back(store, pack)

    assert [sentence.split(": ")[1] for sentence in told[:2]] == [
        "checkpoint of step 4 not used",
        "checkpoint of step 3 not used",
    ]
    pack, trainer = attempt(store, settings)
    assert [record.step for record in pack.checkpoints] == [2, 1]
    told, _ = train(store, pack, trainer, 1)
    assert told == [
        "pack p0000: resumed from the checkpoint of step 2",
        "pack p0000: trains steps 3 to 4 again",
    ]


class _Full:
    """Makes an artifact store refuse files of some kind, as on a full disk."""

    def __init__(self, artifacts, kind):
        self._put, self._kind, self.full = artifacts.put, kind, True
        artifacts.put = self.put

    def put(self, location, write):
        if self.full and self._kind in location:
            raise ArtifactsUnavailable(f"{location} cannot be written: No space left on device")
        return self._put(location, write)


def test_training_goes_on_where_a_checkpoint_has_no_room(store, settings):
    pack, trainer = attempt(store, settings)
    disk = _Full(trainer._artifacts, "/checkpoints/")

    told, _ = train(store, pack, trainer, 2, checkpoint=True)
    disk.full = False
    more, _ = train(store, pack, trainer, 1, checkpoint=True)

    assert [sentence.partition(": e/")[0] for sentence in told] == [
        "pack p0000: no checkpoint of step 1",
        "pack p0000: no checkpoint of step 2",
    ]
    assert all("No space left on device" in sentence for sentence in told)
    assert more == []
    give_back(store, pack)
    assert [record.step for record in attempt(store, settings)[0].checkpoints] == [3]


def test_weights_without_room_end_the_attempt_with_their_own_reason(store, settings):
    _, trainer = attempt(store, settings)
    _Full(trainer._artifacts, "/weights/")

    report = trainer.advance()

    assert report.failure.reason is FailureReason.ARTIFACTS_UNAVAILABLE
    assert "initial.safetensors cannot be written: No space left on device" in report.failure.message
    assert not list(Path(settings.artifact_root.folder).rglob("*.safetensors"))


def test_the_memory_of_an_attempt_is_free_once_nothing_refers_to_it(store, settings):
    """A worker's next pack must find room on its GPU, whenever Python next looks for cycles."""
    pack, trainer = attempt(store, settings)
    train(store, pack, trainer, 2, checkpoint=True)
    ended = weakref.ref(trainer)
    gc.collect()
    gc.disable()
    try:
        del trainer
        assert ended() is None
    finally:
        gc.enable()


def test_the_time_between_slices_is_said(store, settings):
    pack = store.lease_pack("e", "d", 60)
    # A second passes at every reading of the clock.
    trainer = PackTrainer(make_job(pack, settings), monotonic=itertools.count().__next__)

    reports = [trainer.advance() for _ in range(3)]

    # Nothing is known before the first slice; then the time from one slice's end to the next one's start.
    assert [report.idle_seconds for report in reports] == [0, 1, 1]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        # CUDA's message, since no GPU can be removed here.
        (RuntimeError("CUDA error: unspecified launch failure"), FailureReason.WORKER_LOST),
        (RuntimeError("No CUDA GPUs are available"), FailureReason.WORKER_LOST),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            FailureReason.OUT_OF_MEMORY,
        ),
        (MemoryError(), FailureReason.OUT_OF_MEMORY),
        (RuntimeError("can't start new thread"), FailureReason.OUT_OF_MEMORY),
        (RuntimeError("shapes do not match"), FailureReason.TRAINING_ERROR),
    ],
)
def test_what_an_error_of_training_means(store, settings, monkeypatch, error, reason):
    def broken(*_, **__):
        raise error

    _, trainer = attempt(store, settings)
    monkeypatch.setattr("ipserver.workers.trainer.trainer_of", broken)

    failure = trainer.advance().failure

    assert failure is not None and failure.reason is reason
    assert type(error).__name__ in failure.message


@pytest.mark.parametrize(("spec", "width"), [("inf", INFINITE_WIDTH), ("deferred", 64)])
def test_limits_and_deferred_weights_train_resume_and_stop_like_any_run(tmp_path, spec, width):
    """In two attempts, the second from a checkpoint, as in one; a cancelled run records nothing more."""
    grid = {"parameterizations": [{"preset": "hpz"}, {"preset": "hp"}], "seeds": [0]}
    if spec == "inf":
        changes = {"grid": grid | {"widths": [], "infinite_width": True}, "infinite_width": {"particles": 64}}
    else:
        changes = {"grid": grid | {"widths": [width]}, "deferred_weights": "always"}
    found = []
    for name, interrupted in (("whole", False), ("parts", True)):
        (tmp_path / name).mkdir()
        settings = settings_in(tmp_path / name, slice_seconds=1e-9, checkpoint_seconds=1e9)
        store = store_in(settings)
        submit(store, small_spec(steps=6, record={"weights": "none"}, **changes))
        store.lease_unplanned("planner", 60)
        pack = NewPack(
            id="p0000", run_indices=(0, 1), hidden_layers=2, width=width, activation="relu", steps=6,
            memory_bytes=1,
        )  # fmt: skip
        store.save_plan("e", "planner", [pack])
        leased, trainer = attempt(store, settings)
        if interrupted:
            train(store, leased, trainer, 2)
            train(store, leased, trainer, 1, checkpoint=True)
            give_back(store, leased)
            leased, trainer = attempt(store, settings)
            told, _ = train(store, leased, trainer, 1)
            assert told == ["pack p0000: resumed from the checkpoint of step 3"]
        train(store, leased, trainer, 6)
        found.append([run.summary for run in store.list_runs("e", limit=9)])
        assert all(run.state is RunState.SUCCEEDED for run in store.list_runs("e", limit=9))
    assert found[0] == found[1]
    errors = [summary.final_limit_error for summary in found[0]]
    assert all((error is not None and 0 < error < 1) == (spec == "inf") for error in errors)


def test_a_cancelled_limit_records_nothing_more(tmp_path):
    settings = settings_in(tmp_path, slice_seconds=1e-9, checkpoint_seconds=1e9)
    store = store_in(settings)
    grid = {"parameterizations": [{"preset": "hpz"}], "widths": [], "infinite_width": True}
    submit(
        store, small_spec(steps=4, record={"weights": "none"}, grid=grid, infinite_width={"particles": 32})
    )
    store.lease_unplanned("planner", 60)
    pack = NewPack(
        id="p0000", run_indices=(0, 1), hidden_layers=2, width=INFINITE_WIDTH, activation="relu", steps=4,
        memory_bytes=1,
    )  # fmt: skip
    store.save_plan("e", "planner", [pack])
    leased, trainer = attempt(store, settings)
    train(store, leased, trainer, 1)
    report = trainer.advance({0})
    assert {run for run, *_ in _points(report.commit.segment)} == {1} or not report.commit.segment
    store.commit_slice("e", leased.id, leased.token, report.commit)
    last = trainer.advance({0}), trainer.advance({0})
    assert last[-1].commit.finished
    assert {run for run, *_ in _points(last[-1].commit.segment)} == {1}


def _points(segment):
    points = decode(segment)
    return list(zip(points.run.tolist(), points.step.tolist(), strict=True))

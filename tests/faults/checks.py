"""What must hold after any fault: in the store, in MLflow, among files and among processes."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa
from mlflow.tracking import MlflowClient

from ipcore import load_dataset
from ipcore.models.files import read_tensors
from ipcore.training.trainer import Trainer
from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver.artifacts import open_artifacts
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.ops.ownership import MARK
from ipserver.request.convert import pack_config, run_config
from ipserver.store import Store, segments
from ipserver.store.records.experiments import EventRecord
from ipserver.store.records.runs import RunRecord
from ipserver.store.states import FailureReason
from ipserver.store.tables import attempts, checkpoints, packs
from tests.faults.lab import Lab, wait_for

# The model of states: the allowed transitions of a run. Terminal states are final.
NEXT: Mapping[str, frozenset[str]] = {
    "QUEUED": frozenset({"RUNNING", "CANCELLED"}),
    "RUNNING": frozenset({"QUEUED", "SUCCEEDED", "CANCELLING"}),
    "CANCELLING": frozenset({"CANCELLED"}),
    "SUCCEEDED": frozenset(),
    "CANCELLED": frozenset(),
}


def check_history(store: Store, experiment: str) -> None:
    """Events are numbered without gaps and follow the model, with one end for every run.

    An experiment may end again after each extension.
    """
    runs = store.list_runs(experiment, limit=10_000)
    state = {run.index: "QUEUED" for run in runs}
    known = len(runs) - sum(added_by(event) for event in store.events(experiment, after=0, limit=100_000))
    ended: list[str] = []
    committed: dict[str, int] = {}
    events = store.events(experiment, after=0, limit=100_000)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    for event in events:
        if event.kind == "runs_state":
            after = str(event.payload["state"])
            for index in event.payload["runs"]:  # type: ignore[attr-defined]
                assert after in NEXT[state[index]], f"run {index}: {state[index]} -> {after}, event {event}"
                state[index] = after
        elif event.kind == "pack_progress":
            pack, step = str(event.payload["pack"]), int(str(event.payload["committed_steps"]))
            assert step > committed.get(pack, -1), f"{pack} went back to step {step}"
            committed[pack] = step
        elif event.kind == "extended":
            assert event.payload["first_run_index"] == known, f"{event}: {known} runs were there"
            known += added_by(event)
            ended.clear()
        elif event.kind == "experiment_state":
            assert not ended, f"{event} after {ended}"
            if event.payload["state"] in {"SUCCEEDED", "FAILED", "CANCELLED"}:
                ended.append(str(event.payload["state"]))
    assert set(state.values()) == {"SUCCEEDED"}
    assert ended == ["SUCCEEDED"]
    assert {run.state.value for run in runs} == {"SUCCEEDED"}


def added_by(event: EventRecord) -> int:
    """Number of runs that an event adds."""
    return int(str(event.payload["runs"])) if event.kind == "extended" else 0


Points = dict[tuple[int, str], list[tuple[int, float, int]]]


def check_steps(store: Store, experiment: str, *, interval: int) -> Points:
    """Segments do not overlap, and every run has every point once; returns the points."""
    steps = store.get_experiment(experiment).steps
    reached: dict[str, int] = defaultdict(int)
    points: Points = defaultdict(list)
    for segment in store.segments(experiment, packs=None, first_step=0, last_step=None):
        assert segment.first_step > reached[segment.pack], f"{segment.pack}: {segment.first_step} twice"
        reached[segment.pack] = segment.last_step
        block = segments.decode(segment.data)
        rows = zip(block.run, block.metric, block.step, block.value, block.time_ms, strict=True)
        for run, metric, step, value, time_ms in rows:
            key = int(run), block.metrics[metric]
            points[key].append((int(step), float(value), int(time_ms)))
    runs = store.list_runs(experiment, limit=10_000)
    assert reached == dict.fromkeys({run.pack for run in runs}, steps)
    expected = [1, *range(interval, steps + 1, interval)]
    for run in runs:
        assert run.committed_steps == steps
        assert [step for step, _, _ in points[run.index, "train_loss"]] == expected
    for key, recorded in points.items():
        at = [step for step, _, _ in recorded]
        assert at == sorted(set(at)), f"{key}: doubled or out of order"
    return points


def check_mlflow(uri: str, store: Store, experiment: str, points: Points) -> None:
    """MLflow has one finished run for each of ours, with the same points, each once."""
    client = MlflowClient(tracking_uri=uri)
    theirs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=1000)
    runs = store.list_runs(experiment, limit=10_000)
    assert sorted(run.info.run_id for run in theirs) == sorted(run.mlflow_run_id for run in runs)
    assert {run.info.status for run in theirs} == {"FINISHED"}
    assert {run.data.tags["iplab.state"] for run in theirs} == {"SUCCEEDED"}
    for run in runs:
        for metric in {name for index, name in points if index == run.index}:
            history = client.get_metric_history(run.mlflow_run_id, metric)
            found = sorted((point.step, point.value, point.timestamp) for point in history)
            assert found == points[run.index, metric], f"{metric} of run {run.index}"
        paths = {file.path for file in client.list_artifacts(run.mlflow_run_id, "weights")}
        assert paths == {artifact.path for artifact in store.artifacts(experiment, run.index)}


def check_weights(lab: Lab, experiment: str) -> None:
    """Final weights equal those of an undisturbed run of the same pack, bit for bit."""
    store = lab.store
    spec = store.get_experiment(experiment).spec
    files = open_artifacts(ArtifactRoot(str(lab.home / "artifacts")))
    packs: dict[str, list[RunRecord]] = defaultdict(list)
    for run in store.list_runs(experiment, limit=10_000):
        packs[run.pack].append(run)
    for members in packs.values():
        expected = undisturbed(spec, members)
        for run in members:
            record = store.get_artifact(experiment, run.index, "weights/final.safetensors")
            with files.reading(record.location, record.sha256) as path:
                assert _digest(path) == expected[run.index], (
                    f"{experiment}: run {run.index} has other weights"
                )


_undisturbed: dict[tuple[bytes, tuple[int, ...]], dict[int, str]] = {}


def undisturbed(spec: bytes, members: Sequence[RunRecord]) -> dict[int, str]:
    """Digests by index of the final weights of a pack that is trained here without interruption."""
    key = spec, tuple(run.index for run in members)
    if key not in _undisturbed:
        message = ExperimentSpec.FromString(spec)
        config = pack_config(message, members[0])
        configs = [run_config(message, run) for run in members]
        trainer = Trainer(config, configs, load_dataset(config.dataset), threads=1)
        trainer.advance()
        while not trainer.finished:
            trainer.advance()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights"
            found = {}
            for position, run in enumerate(members):
                trainer.network(position).save(path)
                found[run.index] = _digest(path)
        _undisturbed[key] = found
    return _undisturbed[key]


def _digest(path: Path) -> str:
    """SHA-256 of a weight file's tensors, without its header, which holds the experiment's name."""
    tensors, _ = read_tensors(path)
    whole = hashlib.sha256()
    for name in sorted(tensors):
        whole.update(name.encode() + tensors[name].numpy().tobytes())
    return whole.hexdigest()


def check_attempts(store: Store, experiment: str, faults: int) -> None:
    """No pack lost more workers than there were faults: other causes use up no attempt."""
    lost = sa.select(attempts.c.pack).where(
        attempts.c.experiment == experiment, attempts.c.end_reason == FailureReason.WORKER_LOST
    )
    with store.database.engine.connect() as connection:
        times = Counter(connection.execute(lost).scalars())
    assert all(count <= faults for count in times.values()), times


def check_nothing_left(lab: Lab, seconds: float = 30.0) -> None:
    """There is no lease, attempt, checkpoint, temporary file, or process of a part that has ended.

    There is no trainer beyond those that are kept.
    """
    with lab.store.database.engine.connect() as connection:
        leased = connection.execute(
            sa.select(packs.c.id, packs.c.state, packs.c.owner).where(packs.c.expires.is_not(None))
        ).all()
        assert leased == []
        left = connection.execute(sa.select(attempts.c.pack).where(attempts.c.end_time.is_(None))).all()
        assert left == []

    def saved() -> list[object]:
        with lab.store.database.engine.connect() as connection:
            return list(connection.execute(sa.select(checkpoints.c.path)).scalars())

    files = open_artifacts(ArtifactRoot(str(lab.home / "artifacts")))
    named = {MARK} | {
        artifact.location
        for experiment in lab.store.list_experiments(limit=1000, show_deleted=True)
        for run in lab.store.list_runs(experiment.id, limit=10_000)
        for artifact in lab.store.artifacts(experiment.id, run.index)
    }
    wait_for(lambda: not saved(), seconds, lambda: f"checkpoints are recorded: {saved()}")
    wait_for(
        lambda: set(files.below("")) == named,
        seconds,
        lambda: (
            f"files that nothing names: {sorted(set(files.below('')) - named)}; "
            f"named files that are gone: {sorted(named - set(files.below('')))}"
        ),
        poll=0.2,
    )
    kept = lab.kept_trainers
    wait_for(lambda: len(lab.trainers()) <= kept, seconds, lambda: f"trainers: {lab.trainers()}", poll=0.2)
    wait_for(lambda: not lab.strangers(), seconds, lambda: f"processes: {lab.strangers()}", poll=0.2)
    assert not list((lab.folder / "tmp").glob("iplab-scratch-*"))


def check_all_ended(lab: Lab, seconds: float = 120.0) -> None:
    """After a service's parts were told to stop, none of its processes is left, including Ray's."""
    for name in ("api", "dispatch", "forward"):
        assert lab.terminate(name) == 0, lab.tail(name)
    for name in set(lab.parts) - {"api", "dispatch", "forward"}:
        lab.kill(name)
    wait_for(lambda: not lab.processes_left(), seconds, lambda: f"{lab.processes_left()}", poll=0.5)

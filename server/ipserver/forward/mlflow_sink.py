"""MLflow as a sink: the only file that imports MLflow.

Sending the same data again changes nothing: runs are looked up by tag before they are created, and a batch of
metrics with the same timestamps is a no-op in MLflow >= 3.17.2. Thread-safe, as long as each run is sent by
one thread at a time.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlparse

from ipserver.environment.surroundings import forget_other_runs
from ipserver.forward.sqlite_file import SqliteFile

# MLflow reads some variables at its import.
forget_other_runs(os.environ)
# No retries by MLflow's client: if the answer to a run's creation is lost, a retry would create a second run.
# The forwarder retries itself after it has looked up which runs exist.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
# Otherwise MLflow makes one more request for each run that ends and prints two lines with its address.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# Telemetry is off.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, Run, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

Value = TypeVar("Value")
_log = logging.getLogger(__name__)

_BATCH = 1000  # MLflow's limit of metrics in one call
_RUN_TAG = "iplab.run"
_NAME_TAG = "mlflow.runName"
_DEFAULT_EXPERIMENT = "0"  # created by MLflow, with a folder of its own choice
# Limits of the caches; everything else is read from MLflow again.
_KNOWN_EXPERIMENTS = 4096
_KNOWN_RUNS = 400_000
_KNOWN_FOLDERS = 4096
# Runs sent in parallel if MLflow waits for a network or for PostgreSQL. SQLite has one writer.
_PARALLEL = 4


@dataclass(slots=True)
class _Experiment:
    """Cached knowledge of an experiment in MLflow.

    Attributes:
        id: The id in MLflow.
        created: Creation time according to MLflow; None if not read.
        runs: Run ids by tag, read from MLflow once: only the forwarder with the lease creates runs.
        doubtful: Tags of runs to be looked up in MLflow again.
        datasets: (name, digest) of datasets that MLflow knows the experiment to use.
        checked: Whether the experiment is known to be unchanged.
    """

    id: str
    created: int | None
    runs: dict[str, str] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    datasets: set[tuple[str, str]] = field(default_factory=set)
    checked: bool = True


class MlflowSink:
    """Writes experiments and runs to one MLflow tracking store.

    Args:
        tracking_uri: "sqlite:///...", "http://...".
        artifacts: Folder for artifacts of new experiments if this MLflow is our own; None: MLflow decides.

    Attributes:
        parallel: Number of runs that are worth sending in parallel.
    """

    def __init__(self, tracking_uri: str, artifacts: Path | None) -> None:
        in_file = tracking_uri.startswith("sqlite")
        self.parallel = 1 if in_file else _PARALLEL
        ours = in_file and artifacts is not None
        # Must be set up before MLflow opens the file.
        self._file = SqliteFile(Path(tracking_uri.removeprefix("sqlite:///"))) if ours else None
        self._client = MlflowClient(tracking_uri=tracking_uri)
        self._artifacts = artifacts
        self._experiments: dict[str, _Experiment] = {}  # ordered by last use
        self._folders: dict[str, Path | None] = {}
        self._text: tuple[str, Path] | None = None
        self._lock = threading.RLock()

    def ask(self) -> None:
        """Check that MLflow answers; raises MLflow's errors."""
        self._client.search_experiments(max_results=1)

    def elsewhere(self) -> str:
        """A message if an experiment's files lie outside of our folder, as after a move; else ""."""
        ours = self._artifacts
        for experiment in self._client.search_experiments() if ours else ():
            uri = urlparse(experiment.artifact_location)
            inside = ours is None or (uri.scheme == "file" and Path(unquote(uri.path)).is_relative_to(ours))
            if not inside and experiment.experiment_id != _DEFAULT_EXPERIMENT:
                return (
                    f"MLflow keeps the files of {experiment.name!r} at {experiment.artifact_location}, but "
                    f"this home's are below {ours}: it was moved. Move it back, or remove its folder mlflow "
                    "and run `ipserver resend`"
                )
        return ""

    def sync(self) -> None:
        """Wait until all sent data are durable. Raises OSError if they may not be."""
        if self._file is not None:
            self._file.sync()

    def run(
        self,
        experiment: str,
        name: str,
        start_ms: int,
        tags: Mapping[str, str],
        before: Callable[[int], object] = lambda _: None,
        *,
        title: str = "",
        experiment_tags: Mapping[str, str] | None = None,
    ) -> tuple[str, bool]:
        """The MLflow run for one of our runs, created if there is none yet.

        Args:
            experiment: Our experiment's id; it names the MLflow experiment.
            name: Our run's resource name; the tag `iplab.run` holds it.
            start_ms: Start in milliseconds since 1970-01-01 UTC.
            tags: Initial tags of a new run.
            before: Called with 0 before every MLflow call that may be slow.
            title: The name that MLflow shows; "": the last part of `name`.
            experiment_tags: Tags of the experiment if it is created.

        Returns:
            The MLflow run id, and whether the run is new (an existing run may have outdated tags).
        """
        with self._lock:
            found = self._experiment(experiment, before, experiment_tags or {})
            if name in found.doubtful:
                self._ask_for(found, name)
            if name in found.runs:
                return found.runs[name], False
        run = self._client.create_run(
            found.id,
            start_time=start_ms,
            # A run that has ended before it is created here may have its name as a tag.
            run_name=tags.get(_NAME_TAG) or title or name.rpartition("/")[2],
            tags=dict(tags) | {_RUN_TAG: name},
        )
        with self._lock:
            found.runs[name] = run.info.run_id
            _remember(self._folders, run.info.run_id, _local_folder(run), _KNOWN_FOLDERS)
        return run.info.run_id, True

    def known(self, experiment: str, name: str) -> str:
        """The MLflow id of one of our runs, if it was looked up or created here; else ""."""
        with self._lock:
            found = self._experiments.get(experiment)
            return found.runs.get(name, "") if found else ""

    def discard(self, run_id: str) -> None:
        """Delete a duplicate run in MLflow. If MLflow refuses, the log says which run is left."""
        try:
            self._client.delete_run(run_id)
        except MlflowException as error:
            _log.warning(
                "run %s in MLflow is a second one of its name and could not be deleted: %s", run_id, error
            )

    def forget(self, experiment: str, name: str) -> None:
        """Drop cached knowledge of an experiment and a run after an error, so that MLflow is asked again.

        The run may have been created though the answer was lost; the run or experiment may have been deleted.
        """
        with self._lock:
            if (known := self._experiments.get(experiment)) is not None:
                known.runs.pop(name, None)
                known.doubtful.add(name)
                known.checked = False

    def send(
        self,
        run_id: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        points: Sequence[tuple[str, float, int, int]],
        before: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Send parameters (immutable), tags (mutable) and metric points in as few calls as possible.

        Args:
            run_id: The run's id in MLflow.
            params: Parameters.
            tags: Tags.
            points: (metric, value, time in ms, step), in order.
            before: Called before every MLflow call with the number of points in it.
        """
        new_params = [Param(key, value) for key, value in params.items()]
        new_tags = [RunTag(key, value) for key, value in tags.items()]
        for start in range(0, max(1, len(points)), _BATCH):
            metrics = [Metric(*point) for point in points[start : start + _BATCH]]
            before(len(metrics))
            self._client.log_batch(run_id, metrics=metrics, params=new_params, tags=new_tags)
            new_params, new_tags = [], []

    def log_dataset(self, run_id: str, experiment: str, name: str, digest: str) -> None:
        """Record the dataset of a run. Repeatable.

        Args:
            run_id: The run's id in MLflow.
            experiment: Our id of the run's experiment.
            name: Name of the dataset.
            digest: At most 36 characters.
        """
        dataset = Dataset(name, digest, source_type="iplab", source=json.dumps({"name": name}))
        known = self._experiments.get(experiment)
        there = known is not None and (name, digest) in known.datasets
        # MLflow refuses concurrent additions of the same dataset to an experiment, so the first one is
        # exclusive.
        with nullcontext() if there else self._lock:
            self._client.log_inputs(
                run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
            )
            if known is not None:
                known.datasets.add((name, digest))

    def publish(self, run_id: str, source: Path, path: str) -> None:
        """Add a file to the run's artifacts: a hard link on the same file system, a copy otherwise."""
        folder = self._folder(run_id)
        if folder is None:
            with tempfile.TemporaryDirectory() as named:  # MLflow takes the name from the file
                link = Path(named) / Path(path).name
                link.symlink_to(source)
                parent = str(Path(path).parent)
                self._client.log_artifact(run_id, str(link), None if parent == "." else parent)
            return
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.new")
        beside.unlink(missing_ok=True)
        try:
            os.link(source, beside)
        except OSError:
            shutil.copyfile(source, beside)
        beside.replace(target)
        # `rename` does nothing if both names are links to the same file; then the temporary name remains.
        beside.unlink(missing_ok=True)

    def publish_text(self, run_id: str, text: str, path: str) -> None:
        """Add a text file to the run's artifacts. Consecutive runs with the same text share one file."""
        folder = self._folder(run_id)
        if folder is None:
            self._client.log_text(run_id, text, path)
            return
        if (last := self._text) is not None and last[0] == text and last[1].exists():
            self.publish(run_id, last[1], path)
            return
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path).unlink(missing_ok=True)  # other runs may share the file
        (folder / path).write_text(text)
        self._text = text, folder / path

    def finish(self, run_id: str, status: str, end_ms: int) -> None:
        """Set the final status: "FINISHED", "FAILED" or "KILLED"."""
        self._client.set_terminated(run_id, status=status, end_time=end_ms)

    def _experiment(self, name: str, before: Callable[[int], object], tags: Mapping[str, str]) -> _Experiment:
        known = self._experiments.get(name)
        if known is None or not known.checked:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                known = self._create(name, before, tags)
            elif known is None or (known.id, known.created) != (found.experiment_id, found.creation_time):
                known = self._listed(found, before)
            known.checked = True
            self._make_room()
        self._experiments.pop(name, None)
        self._experiments[name] = known
        return known

    def _make_room(self) -> None:
        """Drop the least recently used entries if the cache is too large."""
        runs = sum(len(known.runs) for known in self._experiments.values())
        while self._experiments and (len(self._experiments) >= _KNOWN_EXPERIMENTS or runs > _KNOWN_RUNS):
            runs -= len(self._experiments.pop(next(iter(self._experiments))).runs)

    def _create(self, name: str, before: Callable[[int], object], tags: Mapping[str, str]) -> _Experiment:
        location = (self._artifacts / name).as_uri() if self._artifacts else None
        try:
            made = self._client.create_experiment(name, artifact_location=location, tags=dict(tags))
            return _Experiment(made, None)
        except MlflowException:
            # Another client may have created it; if there is another error, the lookup raises it.
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return self._listed(found, before)

    def _listed(self, found: Experiment, before: Callable[[int], object]) -> _Experiment:
        """An existing experiment with all its runs."""
        experiment = _Experiment(found.experiment_id, found.creation_time)
        token: str | None = None
        while True:
            before(0)
            page = self._client.search_runs([experiment.id], max_results=1000, page_token=token)
            experiment.runs.update(_by_tag(page))
            token = page.token
            if not token:
                return experiment

    def _ask_for(self, experiment: _Experiment, name: str) -> None:
        where = f"tags.`{_RUN_TAG}` = '{name}'"
        experiment.runs.update(_by_tag(self._client.search_runs([experiment.id], where, max_results=1)))
        experiment.doubtful.discard(name)

    def _folder(self, run_id: str) -> Path | None:
        """Folder of the run's artifacts, if it is local; else None."""
        with self._lock:
            if run_id not in self._folders:
                run = self._client.get_run(run_id)
                _remember(self._folders, run_id, _local_folder(run), _KNOWN_FOLDERS)
            return self._folders[run_id]


def _by_tag(runs: Iterable[Run]) -> dict[str, str]:
    return {run.data.tags[_RUN_TAG]: run.info.run_id for run in runs if _RUN_TAG in run.data.tags}


def make_store(uri: str, artifacts: Path) -> None:
    """Create MLflow's tables in a new database and close it.

    Args:
        uri: URI of an empty database.
        artifacts: Folder for MLflow's own experiment "Default".
    """
    from mlflow.store.tracking.sqlalchemy_store import (  # noqa: PLC0415 - slow and rarely needed
        SqlAlchemyStore,
    )

    SqlAlchemyStore(uri, artifacts.as_uri()).engine.dispose()  # type: ignore[no-untyped-call]


def _remember(memory: dict[str, Value], key: str, value: Value, most: int) -> None:
    """Add an entry to a cache of bounded size; the oldest entry is dropped."""
    memory[key] = value
    while len(memory) > most:
        del memory[next(iter(memory))]


def _local_folder(run: Run) -> Path | None:
    uri = urlparse(run.info.artifact_uri)
    return Path(unquote(uri.path)) if uri.scheme in {"", "file"} else None

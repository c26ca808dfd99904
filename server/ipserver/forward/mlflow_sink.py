"""MLflow as a sink: the only file that knows MLflow.

Sending the same again changes nothing: runs are found by their tag before they are created, and a batch of
metrics with the same timestamps is a no-op in MLflow >= 3.17.2.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlparse

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ipserver.surroundings import forget_other_runs

forget_other_runs(os.environ)
# MLflow's client would repeat the creation of a run whose answer was lost, and there would be two. The
# forwarder itself tries again, and asks before what is there.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
# Otherwise MLflow asks its server once more for each run that ends, and prints two lines with its address.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# No reports to its makers.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

Value = TypeVar("Value")

_BATCH = 1000  # MLflow's limit of metrics in one call
_RUN_TAG = "iplab.run"
_DEFAULT_EXPERIMENT = "0"  # MLflow makes it, with a folder of its own choice
# What is remembered at most; the rest is asked of MLflow again.
_KNOWN_EXPERIMENTS = 16
_KNOWN_FOLDERS = 4096


class MlflowSink:
    """Writes experiments and runs to one MLflow tracking store.

    Args:
        tracking_uri: "sqlite:///...", "http://...".
        artifacts: Folder for the artifacts of new experiments; None: the tracking server decides.
    """

    def __init__(self, tracking_uri: str, artifacts: Path | None) -> None:
        self._client = MlflowClient(tracking_uri=tracking_uri)
        self._artifacts = artifacts
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, dict[str, str]] = {}
        self._folders: dict[str, Path | None] = {}

    def ask(self) -> None:
        """Return if MLflow answers; raises what it raises."""
        self._client.search_experiments(max_results=1)

    def elsewhere(self) -> str:
        """What is wrong if files of an experiment lie outside of our folder, as after a move; else ""."""
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

    def run(self, experiment: str, name: str, start_ms: int, tags: Mapping[str, str]) -> tuple[str, bool]:
        """The MLflow run for a run of ours, created if there is none yet.

        Args:
            experiment: Our experiment's id; it names the MLflow experiment.
            name: Our run's resource name; the tag `iplab.run` holds it.
            start_ms: Start in milliseconds since 1970-01-01 UTC.
            tags: Tags that it starts with.

        Returns:
            Its MLflow run id, and whether it is new (one that is not has the tags of another day).
        """
        experiment_id = self._experiment(experiment)
        known = self._known_runs(experiment_id)
        new = name not in known
        if new:
            run = self._client.create_run(
                experiment_id,
                start_time=start_ms,
                run_name=name.rpartition("/")[2],
                tags=dict(tags) | {_RUN_TAG: name},
            )
            known[name] = run.info.run_id
            _remember(self._folders, run.info.run_id, _local_folder(run), _KNOWN_FOLDERS)
        return known[name], new

    def discard(self, run_id: str) -> None:
        """Delete a run of MLflow's that has turned out to be one too many."""
        self._client.delete_run(run_id)

    def forget(self, experiment: str) -> None:
        """Ask MLflow again about an experiment of ours: after an error, what it holds is not known.

        A run may have been created though the answer was lost; a run or experiment may have been deleted.
        """
        self._runs.pop(self._experiments.pop(experiment, ""), None)

    def send(
        self,
        run_id: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        points: Sequence[tuple[str, float, int, int]],
        before: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Parameters (which cannot change), tags (which can), and metric points, in as few calls as possible.

        Args:
            run_id: MLflow's.
            params: Parameters.
            tags: Tags.
            points: (metric, value, time in ms, step), in order.
            before: Called before every call of MLflow with the number of its points.
        """
        new_params = [Param(key, value) for key, value in params.items()]
        new_tags = [RunTag(key, value) for key, value in tags.items()]
        for start in range(0, max(1, len(points)), _BATCH):
            metrics = [Metric(*point) for point in points[start : start + _BATCH]]
            before(len(metrics))
            self._client.log_batch(run_id, metrics=metrics, params=new_params, tags=new_tags)
            new_params, new_tags = [], []

    def publish(self, run_id: str, source: Path, path: str) -> None:
        """Put a file among the run's artifacts: a hard link on one file system, a copy otherwise."""
        folder = self._folder(run_id)
        if folder is None:
            with tempfile.TemporaryDirectory() as named:  # MLflow takes the name from the file
                link = Path(named) / Path(path).name
                link.symlink_to(source)
                self._client.log_artifact(run_id, str(link), str(Path(path).parent))
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
        # Two links to one file are the same name to `rename`, which then leaves both.
        beside.unlink(missing_ok=True)

    def publish_text(self, run_id: str, text: str, path: str) -> None:
        """Put a text file among the run's artifacts."""
        folder = self._folder(run_id)
        if folder is None:
            self._client.log_text(run_id, text, path)
            return
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)

    def finish(self, run_id: str, status: str, end_ms: int) -> None:
        """Set the final status: "FINISHED", "FAILED" or "KILLED"."""
        self._client.set_terminated(run_id, status=status, end_time=end_ms)

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            if found is not None:
                experiment_id = found.experiment_id
            else:
                location = (self._artifacts / name).as_uri() if self._artifacts else None
                try:
                    experiment_id = self._client.create_experiment(name, artifact_location=location)
                except MlflowException:
                    # Somebody else was first; if it is another trouble, the lookup says so.
                    found = self._client.get_experiment_by_name(name)
                    if found is None:
                        raise
                    experiment_id = found.experiment_id
            _remember(self._experiments, name, experiment_id, _KNOWN_EXPERIMENTS)
        return self._experiments[name]

    def _known_runs(self, experiment_id: str) -> dict[str, str]:
        """Run ids by tag; asked of MLflow once, since only the forwarder in charge creates runs."""
        if experiment_id not in self._runs:
            known: dict[str, str] = {}
            token: str | None = None
            while True:
                page = self._client.search_runs([experiment_id], max_results=1000, page_token=token)
                known.update(
                    {run.data.tags[_RUN_TAG]: run.info.run_id for run in page if _RUN_TAG in run.data.tags}
                )
                token = page.token
                if not token:
                    break
            _remember(self._runs, experiment_id, known, _KNOWN_EXPERIMENTS)
        return self._runs[experiment_id]

    def _folder(self, run_id: str) -> Path | None:
        """Where the run's artifacts lie, if that is a folder of this machine."""
        if run_id not in self._folders:
            _remember(self._folders, run_id, _local_folder(self._client.get_run(run_id)), _KNOWN_FOLDERS)
        return self._folders[run_id]


def make_store(uri: str, artifacts: Path) -> None:
    """Make MLflow's tables in a new database; nothing stays open.

    Args:
        uri: Of an empty database.
        artifacts: Folder for MLflow's own experiment "Default".
    """
    from mlflow.store.tracking.sqlalchemy_store import (  # noqa: PLC0415 - slow, and seldom needed
        SqlAlchemyStore,
    )

    SqlAlchemyStore(uri, artifacts.as_uri()).engine.dispose()


def _remember(memory: dict[str, Value], key: str, value: Value, most: int) -> None:
    """Add to a memory of bounded size; the oldest goes."""
    memory[key] = value
    while len(memory) > most:
        del memory[next(iter(memory))]


def _local_folder(run: Run) -> Path | None:
    uri = urlparse(run.info.artifact_uri)
    return Path(unquote(uri.path)) if uri.scheme in {"", "file"} else None

"""Sending one run's new data to MLflow. Several threads may do this at once for different runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ipserver import failpoints
from ipserver.artifacts import ArtifactStore
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.forward.parcel import Parcel
from ipserver.names import experiment_name
from ipserver.store.records.forwarding import Forwarded


def deliver(
    parcel: Parcel,
    sink: MlflowSink,
    artifacts: ArtifactStore,
    before: Callable[[int], object],
    report: Mapping[str, bytes] = MappingProxyType({}),
) -> Forwarded:
    """Send a run's new data. The final status is sent last, so a finished run in MLflow is complete.

    Sending the same data again changes nothing.

    Args:
        parcel: The data to send.
        sink: MLflow.
        artifacts: Store from which the run's files are read.
        before: Called before every step that may be slow, with the number of points in it: a page of runs, a
            batch of points, a file. May raise to end the sending, which is then repeated as a whole.
        report: Files of the experiment's report, if this run completes the experiment; else {}.

    Returns:
        The run's data that MLflow holds now. Exceptions of `sink`, `artifacts` and `before` pass through.
    """
    with failpoints.around("send"):
        run = parcel.mlflow_run_id
        if (first := parcel.first) is None:
            sink.send(run, parcel.params, parcel.tags, parcel.points, before)
        else:
            # Tags are cheap in the call that creates a run and slow afterwards.
            tags = {**first.tags, **parcel.tags}
            run, new = sink.run(
                parcel.experiment, parcel.name, first.start_ms, tags, before, title=first.title,
                experiment_tags=first.experiment_tags,
            )  # fmt: skip
            sink.log_dataset(run, parcel.experiment, *first.dataset)
            params = {**first.params, **parcel.params}
            sink.send(run, params, {} if new else parcel.tags, parcel.points, before)
            sink.publish_text(run, first.spec, "spec.json")
        failpoints.hit("send.during")
        for file in parcel.files:
            before(0)
            with artifacts.reading(file.location, file.sha256) as path:
                sink.publish(run, path, file.path)
        if report:
            _deliver_report(parcel, sink, report, before)
        if parcel.end:
            sink.finish(run, parcel.end.status, parcel.end.time_ms)
    return Forwarded(
        parcel.experiment,
        parcel.index,
        run,
        new=parcel.first is not None,
        segment=parcel.newest,
        files=parcel.files,
        state=parcel.end.state if parcel.end else None,
    )


def _deliver_report(
    parcel: Parcel, sink: MlflowSink, files: Mapping[str, bytes], before: Callable[[int], object]
) -> None:
    """Send a report as artifacts of a separate run named "report". A later report replaces it."""
    time_ms = parcel.end.time_ms if parcel.end else int(time.time() * 1000)
    run, _ = sink.run(parcel.experiment, report_name(parcel.experiment), time_ms, {}, before, title="report")
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            before(0)
            file = Path(folder) / Path(path).name
            file.write_bytes(content)
            sink.publish(run, file, path)
    sink.finish(run, "FINISHED", time_ms)


def report_name(experiment: str) -> str:
    """Value of the tag `iplab.run` of the MLflow run that holds an experiment's report."""
    return f"{experiment_name(experiment)}/report"

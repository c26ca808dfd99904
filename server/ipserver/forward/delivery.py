"""Sending one run's new data to MLflow. Several threads may do this at once for different runs."""

from __future__ import annotations

from collections.abc import Callable

from ipserver import failpoints
from ipserver.artifacts import ArtifactStore
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.forward.parcel import Parcel
from ipserver.store.records.forwarding import Forwarded


def deliver(
    parcel: Parcel, sink: MlflowSink, artifacts: ArtifactStore, before: Callable[[int], object]
) -> Forwarded:
    """Send a run's new data. The final status is sent last, so a finished run in MLflow is complete.

    Sending the same data again changes nothing.

    Args:
        parcel: The data to send.
        sink: MLflow.
        artifacts: Store from which the run's files are read.
        before: Called before every batch with the number of points in it.

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
                parcel.experiment, parcel.name, first.start_ms, tags, title=first.title,
                experiment_tags=first.experiment_tags,
            )  # fmt: skip
            sink.log_dataset(run, parcel.experiment, *first.dataset)
            params = {**first.params, **parcel.params}
            sink.send(run, params, {} if new else parcel.tags, parcel.points, before)
            sink.publish_text(run, first.spec, "spec.json")
        failpoints.hit("send.during")
        for file in parcel.files:
            with artifacts.reading(file.location, file.sha256) as path:
                sink.publish(run, path, file.path)
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

"""One run's news, sent to MLflow. Several threads may do so at once, each for a run of its own."""

from __future__ import annotations

from collections.abc import Callable

from ipserver import failpoints
from ipserver.artifacts import ArtifactStore
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.forward.parcel import Parcel
from ipserver.store.records import Forwarded


def deliver(
    parcel: Parcel, sink: MlflowSink, artifacts: ArtifactStore, before: Callable[[int], object]
) -> Forwarded:
    """Send a run's news; its end comes last, so a run that MLflow calls finished is complete.

    Sending the same again changes nothing.

    Args:
        parcel: What.
        sink: MLflow.
        artifacts: Where the run's files are read.
        before: Called before every batch with the number of its points.

    Returns:
        What MLflow holds of the run now. Whatever `sink`, `artifacts` and `before` raise passes through.
    """
    with failpoints.around("send"):
        run = parcel.mlflow_run_id
        if (first := parcel.first) is None:
            sink.send(run, {}, parcel.tags, parcel.points, before)
        else:
            # MLflow takes tags quickly with a run's creation, and slowly afterwards.
            tags = {**first.tags, **parcel.tags}
            run, new = sink.run(parcel.experiment, parcel.name, first.start_ms, tags)
            sink.send(run, first.params, {} if new else parcel.tags, parcel.points, before)
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

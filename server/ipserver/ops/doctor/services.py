"""Checks of dispatcher, studies, data folder and MLflow."""

from __future__ import annotations

import os
from typing import Final

from ipserver.environment.masking import without_password
from ipserver.environment.settings import Settings
from ipserver.ops.doctor.finding import Found, Level
from ipserver.ops.doctor.stored import opened
from ipserver.ops.heartbeat import Pulse
from ipserver.ops.places import heartbeat_file
from ipserver.ops.running import running_service
from ipserver.ops.startup import check_data

# A dispatcher reports every 15 s.
_SILENCE_SECONDS: Final = 60.0
# A pass over all studies takes less time, except if it plans a large round.
_HUNG_SECONDS: Final = 300.0


def ray(settings: Settings) -> Found:
    """Join the named cluster, or read the last report about the dispatcher's own Ray."""
    if settings.ray_address:
        from ipserver.workers.on_ray.executor import RayExecutor  # noqa: PLC0415 - only here Ray is needed

        executor = RayExecutor(settings.ray_address)
        try:
            nodes = executor.nodes()
        finally:
            executor.close()
        total = {name: sum(node.get(name, 0.0) for node in nodes.values()) for name in ("cpus", "gpus")}
        text = f"{settings.ray_address}: {len(nodes)} nodes, {total['cpus']:g} CPUs, {total['gpus']:g} GPUs"
        if not any(total.values()) and not settings.expected_nodes:
            yield Level.WRONG, f"{text}: nothing can be trained; add a node (`ray start --address ...`)"
        else:
            yield Level.OK, text
        return
    with opened(settings) as store:
        report, now = store.capacity(), store.now()
    if report is None:
        yield Level.NOTE, "no dispatcher has worked here yet; it starts a Ray of its own (`ipserver up`)"
        return
    age = now - report.time
    resources = (
        ", ".join(f"{amount:g} {name}" for name, amount in sorted(report.resources.items())) or "nothing"
    )
    text = f"a dispatcher reported {resources} {age:.0f} s ago"
    if age > _SILENCE_SECONDS:
        yield (
            Level.NOTE,
            f"{text}, and none since: no dispatcher runs, or its Ray has failed (logs/dispatch.log)",
        )
    else:
        yield Level.OK, text


def studies(settings: Settings) -> Found:
    """Check that a dispatcher drives every unfinished study."""
    with opened(settings) as store:
        waiting = store.abandoned_studies(_SILENCE_SECONDS)
    age = Pulse(heartbeat_file(settings, "studies"), _HUNG_SECONDS).age
    hung = age is not None and age > _HUNG_SECONDS
    if hung and running_service(settings) is not None:
        yield (
            Level.WRONG,
            f"the dispatcher here has shown no work on studies for {age:.0f} s; `ipserver up` restarts it "
            "after 900 s (logs/dispatch.log)",
        )
    elif waiting:
        yield (
            Level.NOTE,
            f"no dispatcher has driven {', '.join(waiting)} for {_SILENCE_SECONDS:.0f} s: none runs, or it "
            "cannot (logs/dispatch.log)",
        )
    else:
        yield Level.OK, "a dispatcher drives every unfinished study"


def data(settings: Settings) -> Found:
    """Check the data folder, if one is set. Missing datasets are accepted; damaged ones are reported."""
    if settings.data is None:
        yield Level.OK, "IPLAB_DATA is not set: embedded and synthetic datasets only"
        return
    check_data(settings)
    from ipcore.data import files_signature  # noqa: PLC0415 - loads numpy, needed only with a data folder
    from ipserver.scheduling.datasets import DatasetChecks  # noqa: PLC0415

    usable = []
    for report in DatasetChecks(settings.data).report():
        if report.info is not None:
            usable.append(report.name)
        elif files_signature(report.name, settings.data):
            yield Level.WRONG, f"IPLAB_DATA: {report.problem}"
    yield Level.OK, f"{settings.data}: usable are {', '.join(usable)}"


def mlflow(settings: Settings) -> Found:
    """Check that MLflow answers, or that its database can be created."""
    from ipserver.forward.first import sqlite_path  # noqa: PLC0415 - only this check needs it

    database = sqlite_path(settings.mlflow_uri)
    if database is not None and not database.exists():
        yield Level.OK, f"{database} does not exist yet; the forwarder creates it"
        return
    if database is not None and not os.access(database.parent, os.W_OK | os.X_OK):
        setting = "IPLAB_MLFLOW_TRACKING_URI" if settings.mlflow_tracking_uri else "IPLAB_HOME"
        yield Level.WRONG, f"{setting}: the folder {database.parent} is not writable; correct its permissions"
        return
    from ipserver.forward.connect import connect  # noqa: PLC0415 - only here MLflow is needed

    if moved := connect(settings, make=False).elsewhere():
        yield Level.WRONG, moved
        return
    yield Level.OK, f"{without_password(settings.mlflow_uri)} answers"

"""`ipserver doctor`: find out what is wrong with an installation and how to mend it.

It makes the checks that a part makes at its start (`startup`), and more. It continues after a problem, and it
writes test data and reads them back. It leaves nothing behind and starts nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from ipcore.errors import nearest
from ipserver.artifacts import open_artifacts
from ipserver.environment.masking import without_password
from ipserver.environment.settings import Settings
from ipserver.environment.surroundings import proxy_of, settings_of_aws, settings_of_postgresql
from ipserver.errors import ArtifactsUnavailable, ServiceError
from ipserver.ops.heartbeat import Pulse
from ipserver.ops.parts import LOG_BYTES, heartbeat_file
from ipserver.ops.privacy import exposed, open_ports, processes_in, readable_secrets
from ipserver.ops.running import RunningService, running_service
from ipserver.ops.startup import EVERYTHING, Needs, check_data, check_owner, explained, sqlite_file
from ipserver.store import Store, check_schema, open_store
from ipserver.workers.on_ray.folder import ray_folders

# Leases depend only on the store's clock; metrics and logs have the times of the machines.
_SKEW_SECONDS: Final = 5.0
# A dispatcher reports every 15 s.
_SILENCE_SECONDS: Final = 60.0
_EXPIRY_DAYS: Final = 14.0
# A pass over all studies takes less, except for the plan of a large round.
_HUNG_SECONDS: Final = 300.0
_LITTLE_BYTES: Final = 1 << 30
_TOO_LITTLE_BYTES: Final = 100 << 20
# IPLAB_ variables that are not settings.
_NO_SETTINGS: Final = ("IPLAB_TEST_", "IPLAB_SUPERVISED")


class Level(StrEnum):
    """Severity of a finding.

    NOTE: the service works, but the finding may be of interest. SKIPPED: the check could not be made.
    """

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        check: Name of the check: "store", "artifacts", ...
        level: Severity.
        text: The observation and, if something is wrong, what to do about it.
    """

    check: str
    level: Level
    text: str


_Found = Iterator[tuple[Level, str]]


def examine(
    settings: Settings, clock: Callable[[], float] = time.time, needs: Needs = EVERYTHING
) -> Iterator[Finding]:
    """Make all checks, one after another.

    Args:
        settings: Settings of the examined part.
        clock: This machine's clock, in seconds since 1970-01-01 UTC.
        needs: Services that the part uses; others are not checked.
    """
    service = running_service(settings)
    if service is not None:
        yield from _look("service", _differences(settings, service))
        settings = service.settings
    yield from _look("settings", _variables(os.environ))
    yield from _look("variables", _surroundings(settings, os.environ))
    yield from _look("space", _space(settings))
    yield from _look("privacy", _privacy(settings))
    yield from _look("tls", _tls(settings, clock))
    reachable = yield from _look("store", _store(settings))
    if reachable:
        yield from _look("clock", _clock(settings, clock))
    else:
        yield _skipped("clock", "the store")
        yield _skipped("schema", "the store")
    usable = reachable and (yield from _look("schema", _schema(settings)))
    behind = {
        "times": _times(settings),
        "writing": _writing(settings),
        "artifacts": _artifacts(settings, write=needs.writes),
    }
    if needs.ray:
        behind["ray"] = _ray(settings)
        behind["studies"] = _studies(settings)
    for name, check in behind.items():
        if usable:
            yield from _look(name, check)
        else:
            yield _skipped(name, "a store with the schema of this code")
    if needs.ray:
        yield from _look("data", _data(settings))
    if needs.mlflow:
        yield from _look("mlflow", _mlflow(settings))


def _differences(settings: Settings, service: RunningService) -> _Found:
    """The service that runs in this home, and which of its settings are others than here."""
    yield (
        Level.OK,
        f"checked with the settings of the service that runs in {settings.home} at "
        f"{service.settings.address} (process {service.pid})",
    )
    for name, theirs, ours in service.differences(settings):
        yield Level.NOTE, f"{name} is {theirs or 'unset'} there and {ours or 'unset'} here"


def _look(check: str, found: _Found) -> Generator[Finding, None, bool]:
    """Yield all findings of a check; return whether none of them is wrong."""
    sound = True
    try:
        for level, text in found:
            sound = sound and level is not Level.WRONG
            yield Finding(check, level, text)
    except ServiceError as error:
        sound = False
        yield Finding(check, Level.WRONG, str(error))
    except Exception as error:  # libraries raise many types; report all of them
        sound = False
        yield Finding(check, Level.WRONG, f"{type(error).__name__}: {without_password(str(error))}")
    return sound


def _skipped(check: str, need: str) -> Finding:
    return Finding(check, Level.SKIPPED, f"not checked: it needs {need}")


def _variables(environment: Mapping[str, str]) -> _Found:
    known = {f"IPLAB_{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(
        name
        for name in environment
        if name.startswith("IPLAB_") and name not in known and not name.startswith(_NO_SETTINGS)
    )
    for name in unknown:
        near = nearest(name, known)
        meant = f"; did you mean {near}?" if near else ""
        yield Level.NOTE, f"{name} is not used: there is no such setting{meant}"
    if not unknown:
        yield Level.OK, "every IPLAB_ variable is a setting (`ipserver settings` lists them)"


def _surroundings(settings: Settings, environment: Mapping[str, str]) -> _Found:
    """Variables of other programs in the environment that our libraries read."""
    servers = {
        "IPLAB_MLFLOW_TRACKING_URI": settings.mlflow_uri if settings.mlflow_uri.startswith("http") else "",
        "IPLAB_S3_ENDPOINT_URL": settings.s3_endpoint_url,
    }
    found = []
    for setting, url in servers.items():
        if url and (proxied := proxy_of(url)):
            found.append(f"{proxied[0]} sends requests to {setting} through the proxy {proxied[1]}")
    if settings.artifacts.startswith("s3://") and (names := settings_of_aws(environment)):
        found.append(f"the library of S3 reads {', '.join(names)}")
    if settings.store_dsn.startswith("postgresql") and (names := settings_of_postgresql(environment)):
        found.append(f"what IPLAB_STORE leaves out comes from {', '.join(names)}")
    if "RAY_ADDRESS" in environment and not settings.ray_address:
        found.append("RAY_ADDRESS is not used (IPLAB_RAY_ADDRESS names a cluster to join)")
    for text in found:
        yield Level.NOTE, text
    if not found:
        yield Level.OK, "no variable of another program changes what this service does"


def _space(settings: Settings) -> _Found:
    """Free space where this service writes: at the nearest existing folder, once per file system."""
    folders = {"IPLAB_HOME": settings.home, "temporary files": Path(tempfile.gettempdir())}
    if settings.artifact_root.folder is not None:
        folders["IPLAB_ARTIFACTS"] = settings.artifact_root.folder
    seen = set()
    for name, folder in folders.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(there).free
        text = f"{name}: {_bytes(free)} free at {there}"
        if free < _LITTLE_BYTES:
            level = Level.WRONG if free < _TOO_LITTLE_BYTES else Level.NOTE
            yield level, f"{text}; make room, or set {'TMPDIR' if name.startswith('temp') else name}"
        else:
            yield Level.OK, text


def _privacy(settings: Settings) -> _Found:
    """What other users of this machine can reach."""
    found = 0
    if settings.home.exists():
        # Of a mounted folder, as in a container, whoever mounts it decides.
        ours = settings.home.stat().st_uid == os.getuid()
        for text in exposed(settings.home):
            found += 1
            yield (Level.WRONG if ours else Level.NOTE), f"other users can reach {text}; chmod go= it"
    secrets = [settings.settings, *(settings.secrets.iterdir() if settings.secrets else ())]
    if settings.certificates:
        secrets.append(settings.certificates.key)
    for text in readable_secrets(path for path in secrets if path is not None and path.is_file()):
        found += 1
        yield (
            Level.NOTE,
            f"other users can read {text}; chmod go= it, unless nobody else is here, as in a container",
        )
    if not settings.ray_address:
        for folder in ray_folders(settings.home):
            for text in open_ports(processes_in(folder)):
                found += 1
                yield Level.WRONG, f"Ray's {text} can be reached from other machines; restart the service"
    for log in sorted((settings.home / "logs").glob("*.log")):
        if log.stat().st_size > 2 * LOG_BYTES:
            found += 1
            yield (
                Level.WRONG,
                f"{log} has {_bytes(log.stat().st_size)} and is not rotated; does `ipserver up` run?",
            )
    if not found:
        yield Level.OK, "other users of this machine reach no file of the service, and no port of its Ray"


def _tls(settings: Settings, clock: Callable[[], float]) -> _Found:
    """Whether the certificate can be used, and for how long."""
    if settings.certificates is None:
        if settings.insecure:
            yield Level.NOTE, "the API speaks unencrypted, as IPLAB_INSECURE says"
        else:
            yield Level.OK, "not used: the API is on loopback"
        return
    expires = settings.certificates.read().expires
    days = (expires.timestamp() - clock()) / 86_400
    text = f"{settings.certificates.certificate} expires on {expires.date()}"
    if days < 0:
        yield (
            Level.WRONG,
            f"{text}, which is over: clients refuse it; replace the files, no restart is needed",
        )
    else:
        yield (Level.NOTE if days < _EXPIRY_DAYS else Level.OK), text


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _open(settings: Settings) -> Store:
    sqlite_file(settings)
    return open_store(settings.store_dsn)


def _store(settings: Settings) -> _Found:
    with _open(settings) as store:
        damage = explained(store.damage)
        shown = store.database.shown
    if damage:
        yield (
            Level.WRONG,
            f"{shown} is damaged ({'; '.join(damage)}); stop the service and restore a backup "
            "(docs/operations.md)",
        )
    elif shown.startswith("sqlite"):
        yield Level.OK, f"{shown} answers, its pages and indexes are in order"
    else:
        yield Level.OK, f"{shown} answers"


def _clock(settings: Settings, clock: Callable[[], float]) -> _Found:
    with _open(settings) as store:
        store.now()  # connects
        before = clock()
        theirs = store.now()
        after = clock()
    skew = (before + after) / 2 - theirs
    if abs(skew) > _SKEW_SECONDS + (after - before) / 2:
        side = "ahead of" if skew > 0 else "behind"
        yield (
            Level.WRONG,
            f"this machine's clock is {abs(skew):.0f} s {side} the store's; set both by NTP (leases go by "
            "the store's, metrics and logs by the machines')",
        )
    else:
        yield Level.OK, f"this machine and the store agree within {_SKEW_SECONDS:g} s"


def _schema(settings: Settings) -> _Found:
    with _open(settings) as store:
        explained(lambda: check_schema(store))
    yield Level.OK, "the tables have the version of this code"


def _times(settings: Settings) -> _Found:
    """Whether the store holds times ahead of its clock, which has then been set back."""
    with _open(settings) as store:
        newest, now = explained(store.newest_time), store.now()
    if newest is not None and newest - now > _SKEW_SECONDS:
        yield (
            Level.NOTE,
            f"the store holds times up to {newest - now:.0f} s ahead of its clock: it was ahead then, or is "
            "behind now; set it by NTP. Leases from the future have run out",
        )
    else:
        yield Level.OK, "no time in the store is ahead of its clock"


def _writing(settings: Settings) -> _Found:
    with _open(settings) as store:
        explained(store.prove_writable)
    yield Level.OK, "the store can be written"


def _artifacts(settings: Settings, *, write: bool) -> _Found:
    root = settings.artifact_root
    with _open(settings) as store:
        if root.folder is not None and not root.folder.exists() and not store.identity().artifact_root:
            yield Level.OK, f"{root} does not exist yet; the first part creates it"
            return
        files = open_artifacts(root)

        def probe() -> bool:
            files.check(write=write)
            marked = check_owner(store, settings, files)
            if not write:
                return marked
            location, text = f".iplab-doctor/{uuid.uuid4().hex}", uuid.uuid4().bytes * 4096
            try:
                stored = files.put(location, lambda path: path.write_bytes(text))
                with files.reading(location, stored.sha256) as path:
                    if path.read_bytes() != text:
                        raise ArtifactsUnavailable(f"{root} returns other data than were written")
            finally:
                files.delete_folder(".iplab-doctor")
            if files.size(location) is not None:
                raise ArtifactsUnavailable(f"{root} does not delete files")
            return marked

        marked = explained(probe)
    whose = "it is this store's" if marked else "no store has claimed it yet; the first part does"
    done = "a file was written, read back and deleted" if write else "it can be reached"
    yield Level.OK, f"{root}: {done}; {whose}"


def _ray(settings: Settings) -> _Found:
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
    with _open(settings) as store:
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
        yield Level.NOTE, f"{text}, and none since: none runs, or its Ray has failed (logs/dispatch.log)"
    else:
        yield Level.OK, text


def _studies(settings: Settings) -> _Found:
    """Whether somebody drives every study that has not ended."""
    with _open(settings) as store:
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
        yield Level.OK, "every study that has not ended is driven"


def _data(settings: Settings) -> _Found:
    """The data folder, if one is set. Missing datasets are fine; damaged ones are reported."""
    if settings.data is None:
        yield Level.OK, "IPLAB_DATA is not set: embedded and made-up datasets only"
        return
    check_data(settings)
    from ipcore.data import files_signature  # noqa: PLC0415 - numpy, only where there is a folder
    from ipserver.scheduling.datasets import DatasetChecks  # noqa: PLC0415

    usable = []
    for report in DatasetChecks(settings.data).report():
        if report.info is not None:
            usable.append(report.name)
        elif files_signature(report.name, settings.data):
            yield Level.WRONG, f"IPLAB_DATA: {report.problem}"
    yield Level.OK, f"{settings.data}: usable are {', '.join(usable)}"


def _mlflow(settings: Settings) -> _Found:
    from ipserver.forward.first import sqlite_path  # noqa: PLC0415 - only here MLflow is looked at

    database = sqlite_path(settings.mlflow_uri)
    if database is not None and not database.exists():
        yield Level.OK, f"{database} does not exist yet; the forwarder creates it"
        return
    if database is not None and not os.access(database.parent, os.W_OK | os.X_OK):
        setting = "IPLAB_MLFLOW_TRACKING_URI" if settings.mlflow_tracking_uri else "IPLAB_HOME"
        yield Level.WRONG, f"{setting}: the folder {database.parent} is not writable; mend its permissions"
        return
    from ipserver.forward.connect import connect  # noqa: PLC0415 - only here MLflow is needed

    if moved := connect(settings, make=False).elsewhere():
        yield Level.WRONG, moved
        return
    yield Level.OK, f"{without_password(settings.mlflow_uri)} answers"

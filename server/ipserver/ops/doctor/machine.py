"""Checks of the machine: variables, free space, access by other users, certificates."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from ipcore.errors import nearest
from ipserver.environment.settings import Settings
from ipserver.environment.surroundings import proxy_of, settings_of_aws, settings_of_postgresql
from ipserver.ops.doctor.finding import Found, Level, size
from ipserver.ops.places import LOG_BYTES
from ipserver.ops.privacy import exposed, open_ports, processes_in, readable_secrets
from ipserver.workers.on_ray.folder import ray_folders

_EXPIRY_DAYS: Final = 14.0
_LITTLE_BYTES: Final = 1 << 30
_TOO_LITTLE_BYTES: Final = 100 << 20
# IPLAB_ variables that are not settings.
_NO_SETTINGS: Final = ("IPLAB_TEST_", "IPLAB_SUPERVISED")


def variables(environment: Mapping[str, str]) -> Found:
    """Check for IPLAB_ variables that are not settings."""
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


def surroundings(settings: Settings, environment: Mapping[str, str]) -> Found:
    """Check for variables of other programs that our libraries read."""
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


def space(settings: Settings) -> Found:
    """Check free space where the service writes: at the nearest existing folder, once per file system."""
    folders = {"IPLAB_HOME": settings.home}
    try:
        folders["temporary files"] = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        yield Level.WRONG, f"temporary files: {error.strerror}; set TMPDIR to a folder that can be written"
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
        text = f"{name}: {size(free)} free at {there}"
        if free < _LITTLE_BYTES:
            level = Level.WRONG if free < _TOO_LITTLE_BYTES else Level.NOTE
            yield level, f"{text}; free space, or set {'TMPDIR' if name.startswith('temp') else name}"
        else:
            yield Level.OK, text


def privacy(settings: Settings) -> Found:
    """Check which files and ports other users of this machine can access."""
    found = 0
    if settings.home.exists():
        # In a container, a mounted folder has the permissions of its mount.
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
            f"other users can read {text}; chmod go= it, unless there are none, as in a container",
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
                f"{log} has {size(log.stat().st_size)} and is not rotated; does `ipserver up` run?",
            )
    if not found:
        yield Level.OK, "other users of this machine reach no file of the service, and no port of its Ray"


def tls(settings: Settings, clock: Callable[[], float]) -> Found:
    """Check that the certificate is valid, and for how long."""
    if settings.certificates is None:
        if settings.insecure:
            yield Level.NOTE, "the API is unencrypted, as IPLAB_INSECURE says"
        else:
            yield Level.OK, "not used: the API is on loopback"
        return
    expires = settings.certificates.read().expires
    days = (expires.timestamp() - clock()) / 86_400
    text = f"{settings.certificates.certificate} expires on {expires.date()}"
    if days < 0:
        yield (
            Level.WRONG,
            f"{text}, which is past: clients refuse it; replace the files, no restart is needed",
        )
    else:
        yield (Level.NOTE if days < _EXPIRY_DAYS else Level.OK), text

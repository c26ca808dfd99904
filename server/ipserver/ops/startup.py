"""Checks before a part starts: the services it needs exist, answer, and belong to this service.

Every error names the setting concerned, what was tried, and what to do. With `IPLAB_WAIT_SECONDS` a part
retries for that long if waiting may help (a database that is still starting), and ends at once if it cannot
(a schema newer than the code).
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from ipserver.environment.settings import Settings
from ipserver.errors import ArtifactsUnavailable, NotReady, StartupError, StoreUnavailable
from ipserver.ops.ownership import settle_artifacts
from ipserver.ops.places import make_folder
from ipserver.ops.privacy import tighten
from ipserver.store import Store, check_schema, migrate, open_store
from ipserver.store.database import parse_dsn

T = TypeVar("T")
_log = logging.getLogger(__name__)
_FIRST_REST, _LONGEST_REST = 0.5, 10.0
# Error messages of poolers in front of PostgreSQL, with remedies. Waiting does not help.
_POOLERS = {
    "transaction blocks not allowed": "the pooler must keep a connection for a whole transaction: "
    "pool_mode = transaction (or session) for this database",
    "unsupported startup parameter": "the pooler does not pass it on: leave `options` out of the DSN, and "
    "set them for the role or the database (ALTER ROLE ... SET ...)",
}


@dataclass(frozen=True, slots=True)
class Needs:
    """Services that a part uses, besides reading the store and the artifacts.

    Attributes:
        writes: Whether it writes artifacts.
        ray: Whether it joins Ray and reads datasets.
        mlflow: Whether it connects to MLflow.
    """

    writes: bool = False
    ray: bool = False
    mlflow: bool = False


# Network policies may close all other connections (deploy/k8s/base/network.yaml).
PARTS: Final = {
    "api": Needs(),
    "dispatch": Needs(writes=True, ray=True),
    "forward": Needs(mlflow=True),
}
# For `ipserver up` and for machines with all parts.
EVERYTHING: Final = Needs(writes=True, ray=True, mlflow=True)


def waiting(
    settings: Settings,
    attempt: Callable[[], T],
    *,
    seconds: float | None = None,
    sleep: Callable[[float], object] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> T:
    """Call `attempt` and return its result, retrying while something is not ready.

    Args:
        settings: Provides `wait_seconds`, the longest time to retry.
        attempt: A function that needs another program.
        seconds: Used instead of `wait_seconds`; may be infinite.
        sleep: Sleeps for the given seconds; raises to end the waiting early.
        monotonic: Clock, in seconds.

    Raises:
        NotReady: It did not succeed in time. The message has the last error.
        StartupError: Waiting cannot help.
    """
    patience = settings.wait_seconds if seconds is None else seconds
    end = monotonic() + patience
    rest = _FIRST_REST
    while True:
        try:
            return explained(attempt)
        except NotReady as error:
            left = end - monotonic()
            if left <= 0:
                waited = f"; gave up after {patience:g} s" if patience else ""
                raise NotReady(f"{error}{waited}") from None
            limit = "until it is" if math.isinf(left) else f"for another {left:.0f} s"
            _log.warning("not ready, tried %s: %s", limit, error)
        sleep(min(rest, left))
        rest = min(2 * rest, _LONGEST_REST)


def explained(attempt: Callable[[], T]) -> T:
    """Call `attempt` and return its result, with errors explained.

    Raises:
        NotReady: The store or the artifacts cannot be reached now. The message names the setting.
        StartupError: Raised by `attempt`.
    """
    try:
        return attempt()
    except StoreUnavailable as error:
        for said, remedy in _POOLERS.items():
            if said in str(error):
                raise StartupError(f"IPLAB_STORE: {error}; {remedy}") from None
        what = "the file, its folder and its disk; for a damaged one restore a backup (docs/operations.md)"
        if "sqlite:" not in str(error):
            what = "its host, port, user, password and database name"
        raise NotReady(f"IPLAB_STORE: {error}; check {what}") from None
    except ArtifactsUnavailable as error:
        raise NotReady(
            f"IPLAB_ARTIFACTS: {error}; check it, and for S3 IPLAB_S3_ENDPOINT_URL, _REGION and the keys"
        ) from None


def prepare_home(settings: Settings) -> None:
    """Create the folders in the home folder that these settings use.

    Raises:
        StartupError: One of them cannot be created or written. The message names the setting to change.
    """
    if not (settings.store and settings.artifacts and settings.mlflow_tracking_uri):
        make_folder(settings.home)
        tighten(settings.home)
    if not settings.mlflow_tracking_uri:
        make_folder(settings.home / "mlflow")


def check_data(settings: Settings) -> None:
    """Check that the folder of datasets can be read, if one is set.

    Raises:
        NotReady: The folder is missing (it may be mounted later), not a folder, or not readable.
    """
    folder = settings.data
    if folder is None:
        return
    if not folder.is_dir():
        wrong = "is not a folder" if folder.exists() else "does not exist"
    elif not os.access(folder, os.R_OK | os.X_OK):
        wrong = "cannot be read"
    else:
        return
    raise NotReady(
        f"IPLAB_DATA: the folder {folder} {wrong}; name another (--data, IPLAB_DATA), create or mount it, "
        "or leave the setting out"
    )


def migrate_store(settings: Settings) -> None:
    """Wait for the store and bring its schema up to date."""
    waiting(settings, lambda: migrate(settings.store_dsn))


def sqlite_file(settings: Settings) -> Path | None:
    """The store's existing SQLite file; None if the store is on PostgreSQL.

    Raises:
        StartupError: The DSN is wrong, or the file does not exist.
    """
    file: Path | None = settings.home / "iplab.db"
    if settings.store:
        url = parse_dsn(settings.store_dsn)
        file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    if file is not None and not file.exists():
        raise StartupError(
            f"IPLAB_STORE: there is no {file}; `ipserver up` or `ipserver migrate` creates it. If there was "
            "one, check IPLAB_HOME, or restore a backup (docs/operations.md)"
        )
    return file


def open_service(settings: Settings, *, write: bool) -> Store:
    """Open the store after checking that it and the artifacts answer, are up to date and belong together.

    Args:
        settings: All settings.
        write: Whether this part writes artifacts.

    Raises:
        StartupError: A check failed.
    """
    prepare_home(settings)

    def attempt() -> Store:
        store = open_store(settings.store_dsn)
        try:
            check_schema(store)
            settle_artifacts(store, settings, write=write)
        except BaseException:
            store.close()
            raise
        return store

    return waiting(settings, attempt)

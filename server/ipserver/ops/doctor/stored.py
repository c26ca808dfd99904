"""Checks of the store and its artifacts."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

from ipserver.artifacts import open_artifacts
from ipserver.environment.settings import Settings
from ipserver.errors import ArtifactsUnavailable
from ipserver.ops.doctor.finding import Found, Level
from ipserver.ops.ownership import check_owner
from ipserver.ops.startup import explained, sqlite_file
from ipserver.store import Store, check_schema, open_store

# Tolerated difference of clocks. Leases depend only on the store's; metrics and logs on the machines'.
_SKEW_SECONDS: Final = 5.0


def opened(settings: Settings) -> Store:
    """Open the store, which must exist."""
    sqlite_file(settings)
    return open_store(settings.store_dsn)


def store(settings: Settings) -> Found:
    """Check that the store answers and is undamaged."""
    with opened(settings) as store:
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


def clock(settings: Settings, clock: Callable[[], float]) -> Found:
    """Compare this machine's clock with the store's."""
    with opened(settings) as store:
        store.now()  # connects
        before = clock()
        theirs = store.now()
        after = clock()
    skew = (before + after) / 2 - theirs
    if abs(skew) > _SKEW_SECONDS + (after - before) / 2:
        side = "ahead of" if skew > 0 else "behind"
        yield (
            Level.WRONG,
            f"this machine's clock is {abs(skew):.0f} s {side} the store's; set both by NTP (leases use "
            "the store's clock, metrics and logs the machines')",
        )
    else:
        yield Level.OK, f"this machine and the store agree within {_SKEW_SECONDS:g} s"


def schema(settings: Settings) -> Found:
    """Check that the tables have the version of this code."""
    with opened(settings) as store:
        explained(lambda: check_schema(store))
    yield Level.OK, "the tables have the version of this code"


def times(settings: Settings) -> Found:
    """Check for times ahead of the store's clock, which show that it was wrong."""
    with opened(settings) as store:
        newest, now = explained(store.newest_time), store.now()
    if newest is not None and newest - now > _SKEW_SECONDS:
        yield (
            Level.NOTE,
            f"the store holds times up to {newest - now:.0f} s ahead of its clock: it was ahead then, or is "
            "behind now; set it by NTP. Leases from the future count as expired",
        )
    else:
        yield Level.OK, "no time in the store is ahead of its clock"


def writing(settings: Settings) -> Found:
    """Check that the store can be written."""
    with opened(settings) as store:
        explained(store.prove_writable)
    yield Level.OK, "the store can be written"


def artifacts(settings: Settings, *, write: bool) -> Found:
    """Check that artifacts can be read and, if `write`, written, and that they belong to this store."""
    root = settings.artifact_root
    with opened(settings) as store:
        if root.folder is not None and not root.folder.exists() and not store.identity().artifact_root:
            yield Level.OK, f"{root} does not exist yet; the first part creates it"
            return
        files = open_artifacts(root)

        def probe() -> bool:
            files.check(write=write)
            marked = check_owner(store, settings, files)
            if not write:
                return marked
            location, text = f".iplab-doctor-{uuid.uuid4().hex}", uuid.uuid4().bytes * 4096
            try:
                stored = files.put(location, lambda path: path.write_bytes(text))
                with files.reading(location, stored.sha256) as path:
                    if path.read_bytes() != text:
                        raise ArtifactsUnavailable(f"{root} returns data that differ from what was written")
            finally:
                files.delete([location])  # another doctor may have a file of its own there
            if files.size(location) is not None:
                raise ArtifactsUnavailable(f"{root} does not delete files")
            return marked

        marked = explained(probe)
    whose = "it is this store's" if marked else "no store has claimed it yet; the first part does"
    done = "a file was written, read back and deleted" if write else "it can be reached"
    yield Level.OK, f"{root}: {done}; {whose}"

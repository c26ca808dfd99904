"""`ipserver backup`: copy a home folder while the service works. The copy is a home folder itself.

The order makes the copy consistent. Files never change, so they are copied first. Then comes the store, as of
one moment, then the files that appeared in between; of these, checkpoints come first because they are deleted
soonest. MLflow comes last: it then holds at least the data that the store has marked as sent, and data sent
again are not duplicated.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ipserver.artifacts.local import LocalArtifacts, flush
from ipserver.environment.settings import Settings
from ipserver.errors import ArtifactDamaged, StartupError
from ipserver.ops.ownership import check_owner
from ipserver.ops.startup import explained, sqlite_file
from ipserver.store import check_schema, open_store
from ipserver.store.records.files import NamedFile

# Copies by device, inode, size and time of change (ns) of the files that were copied.
Links = dict[tuple[int, int, int, int], Path]


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds.

    Attributes:
        files: Number of copied and verified weights and checkpoints; 0 if they are in S3.
        size_bytes: Size of the whole folder; files with several names are counted once.
        passed: Number of checkpoints that newer ones replaced meanwhile; their packs repeat a few more steps.
        missing: Locations of weights that the store refers to but that are missing or damaged.
        elsewhere: Address of artifacts in S3, which are not in the backup; "" if they are in it.
    """

    files: int
    size_bytes: int
    passed: int
    missing: tuple[str, ...]
    elsewhere: str


def backup(settings: Settings, destination: Path) -> Backup:
    """Copy a home folder. The service may work meanwhile.

    Args:
        settings: Settings of the service, with a store on SQLite.
        destination: A folder that does not exist yet. It appears only when the copy is complete.

    Raises:
        StartupError: The store is on PostgreSQL, cannot be read or is damaged, or the destination exists or
            cannot be written.
    """
    source = sqlite_file(settings)
    if source is None:
        raise StartupError(
            "IPLAB_STORE: a database on PostgreSQL is backed up by pg_dump (docs/operations.md, Backup)"
        )
    beside = destination.with_name(f"{destination.name}.partial")
    try:
        beside.mkdir(mode=0o700)
    except OSError as error:
        raise StartupError(
            f"cannot create {beside}: {error.strerror}; name a new folder in one that can be written, and "
            "remove what an interrupted backup has left"
        ) from None
    try:
        made = _fill(settings, source, beside)
        _flush(beside)
        if destination.exists():
            raise StartupError(f"{destination} exists already; name a new folder")
        beside.rename(destination)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError | sqlite3.Error):
            raise StartupError(
                f"the backup could not be completed and was removed: {error}; check the disk of "
                f"{destination}, and that all files of the home and the artifacts can be read"
            ) from error
        raise
    return made


def _fill(settings: Settings, source: Path, home: Path) -> Backup:
    links: Links = {}
    folder = settings.artifact_root.folder
    files = home / "artifacts"
    with open_store(settings.store_dsn) as store:
        explained(lambda: check_schema(store))
        if folder is not None and folder.exists():
            check_owner(store, settings, LocalArtifacts(folder))
    if folder is not None:
        _copy_tree(folder, files, links)
    _copy_database(source, home / "iplab.db")
    with open_store(f"sqlite:///{home / 'iplab.db'}") as copy:
        named = copy.named_files()
        if damage := copy.damage():
            raise StartupError(f"{source} is damaged: {'; '.join(damage)}; run ipserver doctor")
    lost = [] if folder is None else list(_complete(folder, files, named, links))
    if not settings.mlflow_tracking_uri and (settings.home / "mlflow" / "mlflow.db").exists():
        (home / "mlflow").mkdir()
        _copy_database(settings.home / "mlflow" / "mlflow.db", home / "mlflow" / "mlflow.db")
        _copy_tree(settings.home / "mlflow" / "artifacts", home / "mlflow" / "artifacts", links)
    seen = {(status.st_dev, status.st_ino): status.st_size for status in map(os.stat, _walk(home))}
    return Backup(
        files=0 if folder is None else len(named) - len(lost),
        size_bytes=sum(seen.values()),
        passed=sum(file.checkpoint for file in lost),
        missing=tuple(file.location for file in lost if not file.checkpoint),
        elsewhere="" if folder is not None else settings.artifact_root.url,
    )


def _copy_database(source: Path, target: Path) -> None:
    """Copy by SQLite's backup: a snapshot of one moment, independent of concurrent writers."""
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)


def _complete(folder: Path, files: Path, named: list[NamedFile], links: Links) -> Iterator[NamedFile]:
    """Copy files added since the first pass; yield files that are missing in the copy or damaged."""
    copies = LocalArtifacts(files)
    for file in named:
        if not (files / file.location).exists():
            _copy(folder / file.location, files / file.location, links)
    for file in named:
        try:
            with copies.reading(file.location, file.sha256):
                pass
        except ArtifactDamaged:
            yield file


def _copy_tree(source: Path, target: Path, links: Links) -> None:
    for path in _walk(source):
        # These are files that are being written.
        if not path.name.endswith(".new"):
            _copy(path, target / path.relative_to(source), links)


def _walk(folder: Path) -> Iterator[Path]:
    found = os.walk(folder, onerror=_raise_unless_deleted)
    return (Path(root) / name for root, _, names in found for name in names)


def _raise_unless_deleted(error: OSError) -> None:
    """For `os.walk`, which otherwise leaves out a folder that cannot be read."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _copy(source: Path, target: Path, links: Links) -> None:
    """Copy a file, or link it to an existing copy, because MLflow's files are hard links to ours.

    A new file may have the inode of one that was deleted meanwhile, so size and time must be equal too.
    """
    try:
        status = source.stat()
        target.parent.mkdir(parents=True, exist_ok=True)
        key = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        if known := links.get(key):
            os.link(known, target)
        else:
            shutil.copy2(source, target)
            links[key] = target
    except FileNotFoundError:
        return  # deleted meanwhile; the store decides whether it is missing


def _flush(folder: Path) -> None:
    """Flush the folder to the disk before the backup gets its final name."""
    for path in (*_walk(folder), *(Path(root) for root, _, _ in os.walk(folder))):
        flush(path)

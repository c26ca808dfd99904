"""Artifacts in a folder, possibly on a network file system that several machines mount."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ipserver.artifacts import CHUNK_BYTES, Stored, measured, writing
from ipserver.errors import ArtifactDamaged, ArtifactsUnavailable


class LocalArtifacts:
    """See `ArtifactStore`. Files are written to a temporary name in their folder, flushed and renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, location: str, write: Callable[[Path], object]) -> Stored:
        """See `ArtifactStore.put`."""
        path = self._path(location)
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.new")
        with writing(f"{self._folder}/{location}"):
            _make_folder(path.parent)
            try:
                write(beside)
                stored = measured(beside)
                flush(beside)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
            flush(path.parent)
        return stored

    @contextmanager
    def reading(self, location: str, sha256: str) -> Iterator[Path]:
        """See `ArtifactStore.reading`: the file itself."""
        path = self._path(location)
        try:
            found = measured(path)
        except OSError as error:
            raise ArtifactDamaged(f"{path} cannot be read: {error.strerror}") from error
        if found.sha256 != sha256:
            raise ArtifactDamaged(f"{path} does not have its recorded checksum")
        yield path

    def size(self, location: str) -> int | None:
        """See `ArtifactStore.size`."""
        path = self._path(location)
        try:
            return path.stat().st_size if path.is_file() else None
        except OSError as error:
            raise ArtifactsUnavailable(f"{self._folder} cannot be read: {error.strerror}") from error

    def chunks(self, location: str, offset: int = 0) -> Iterator[bytes]:
        """See `ArtifactStore.chunks`."""
        path = self._path(location)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                while data := file.read(CHUNK_BYTES):
                    yield data
        except OSError as error:
            raise ArtifactDamaged(f"{path} cannot be read: {error.strerror}") from error

    def below(self, location: str) -> Iterator[str]:
        """See `ArtifactStore.below`."""
        for folder, _, names in os.walk(self._path(location), onerror=_raise_unless_missing):
            for name in names:
                yield (Path(folder) / name).relative_to(self._folder.resolve()).as_posix()

    def delete(self, locations: Iterable[str]) -> None:
        """See `ArtifactStore.delete`."""
        for location in locations:
            self._path(location).unlink(missing_ok=True)

    def delete_folder(self, location: str) -> None:
        """See `ArtifactStore.delete_folder`."""
        shutil.rmtree(self._path(location), ignore_errors=True)

    def delete_empty(self, location: str) -> None:
        """See `ArtifactStore.delete_empty`."""
        for folder, _, _ in os.walk(self._path(location), topdown=False):
            with suppress(OSError):  # not empty, or removed by another process
                Path(folder).rmdir()

    def check(self, *, write: bool) -> None:
        """See `ArtifactStore.check`. Creates a file to test writing, instead of reading permissions."""
        if not self._folder.is_dir():
            raise ArtifactsUnavailable(f"{self._folder} is not a folder")
        if not os.access(self._folder, os.R_OK | os.X_OK):
            raise ArtifactsUnavailable(f"the folder {self._folder} is not readable")
        if write:
            probe = self._folder / f".iplab-probe-{uuid.uuid4().hex}"
            try:
                probe.touch()
                probe.unlink()
            except OSError as error:
                raise ArtifactsUnavailable(
                    f"the folder {self._folder} cannot be written: {error.strerror}"
                ) from None

    def _path(self, location: str) -> Path:
        path = (self._folder / location).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            raise ArtifactDamaged(f"{location!r} lies outside the artifact folder")
        return path


def _raise_unless_missing(error: OSError) -> None:
    """For `os.walk`, which otherwise takes a folder that cannot be read for an empty one."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _make_folder(path: Path) -> None:
    """Create a folder and its parents so that they survive a power cut."""
    if path.exists():
        return
    _make_folder(path.parent)
    path.mkdir(exist_ok=True)
    flush(path.parent)


def flush(path: Path) -> None:
    """Flush a file or folder to the disk, so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Lists, reads and checks files of runs."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from iplab.connection.retries import RETRY_DELAYS
from iplab.connection.transport import Transport, pause
from iplab.errors import ArtifactDamagedError, NotFoundError, UnavailableError
from iplab.results.reading import read
from iplab.results.run_view import RunView
from iplab.results.states import RunState
from iplab.v1 import run_service_pb2


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a run has produced.

    Attributes:
        path: Path within the run: "weights/final.safetensors".
        size_bytes: Size in bytes.
        sha256: SHA-256 of the contents, in hexadecimal.
        step: Updates done when it was written.
        create_time: When it was committed (UTC).
    """

    path: str
    size_bytes: int
    sha256: str
    step: int
    create_time: datetime


def list_artifacts(transport: Transport, run: str) -> Iterator[Artifact]:
    """Files of a run, by its name, ascending by path, fetched by page."""
    request = run_service_pb2.ListArtifactsRequest(parent=run)
    for entry in transport.listing(transport.runs.ListArtifacts, request, lambda page: page.artifacts):
        yield read(Artifact, entry)


class Reading:
    """State of reading a file, for the sync and the async client. An interrupted stream is continued.

    Args:
        run: The run's name.
        artifact: The file.
    """

    def __init__(self, run: str, artifact: Artifact) -> None:
        self._name = f"{run}/artifacts/{artifact.path}"
        self._artifact = artifact
        self._digest = hashlib.sha256()
        self._offset = self._failures = 0

    def request(self) -> run_service_pb2.ReadArtifactRequest:
        """Request for the rest of the file."""
        return run_service_pb2.ReadArtifactRequest(name=self._name, offset=self._offset)

    def take(self, answer: run_service_pb2.ReadArtifactResponse) -> bytes:
        """Take the bytes of an answer."""
        self._digest.update(answer.data)
        self._offset += len(answer.data)
        self._failures = 0
        return answer.data

    def delay_after(self, error: UnavailableError) -> float:
        """Seconds before the next request; raises `error` after too many consecutive interruptions."""
        if self._failures == len(RETRY_DELAYS):
            raise error
        self._failures += 1
        return RETRY_DELAYS[self._failures - 1]

    def verify(self) -> None:
        """Raise ArtifactDamagedError unless the bytes have the recorded size and checksum."""
        recorded, found = self._artifact, self._digest.hexdigest()
        if self._offset != recorded.size_bytes or found != recorded.sha256:
            raise ArtifactDamagedError(
                f"{self._name} came as {self._offset} bytes with SHA-256 {found}; "
                f"recorded are {recorded.size_bytes} bytes with {recorded.sha256}"
            )


def read_chunks(transport: Transport, run: str, artifact: Artifact) -> Iterator[bytes]:
    """The file's bytes in order. Interrupted streams are continued; size and checksum are verified last.

    Raises:
        ArtifactDamagedError: At the end, if the bytes do not have the recorded size and checksum.
    """
    reading = Reading(run, artifact)
    while True:
        try:
            for answer in transport.stream(transport.runs.ReadArtifact, reading.request()):
                yield reading.take(answer)
            break
        except UnavailableError as error:
            pause(reading.delay_after(error))
    reading.verify()


def artifact_at(run: str, files: Sequence[Artifact], path: str) -> Artifact:
    """The file of a run at a path. Raises NotFoundError, which lists the existing files."""
    for artifact in files:
        if artifact.path == path:
            return artifact
    there = ", ".join(a.path for a in files) or "none"
    raise NotFoundError(f"{run} has no artifact {path!r}; there are: {there}")


def weights_file(run: RunView, files: Iterable[Artifact], which: str | int) -> Artifact:
    """The file with a run's weights; `which` as for `Run.weights`. Raises NotFoundError."""
    weights = [artifact for artifact in files if artifact.path.startswith("weights/")]
    for artifact in weights:
        stem = artifact.path.removeprefix("weights/").removesuffix(".safetensors")
        if stem == str(which) or (isinstance(which, int) and artifact.step == which):
            return artifact
    there = ", ".join(f"{a.path} (step {a.step})" for a in weights)
    hint = there or "none; the spec says what is kept (record.weights: final)"
    if run.state is RunState.DIVERGED and which == "final":
        hint = f"{there or 'none'}; a run that diverges leaves no final weights"
    raise NotFoundError(f"{run.name} is {run.state} and has no weights {which!r}; there are: {hint}")


def place(artifact: Artifact, to: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Target of a copy: `to`, or a file in it if it is a folder.

    Raises:
        FileExistsError: The target exists and `overwrite` is false.
    """
    target = Path(to)
    if target.is_dir():
        target /= Path(artifact.path).name
    if not overwrite and target.exists():
        raise FileExistsError(errno.EEXIST, "exists already", str(target))
    return target


def save(chunks: Iterable[bytes], target: Path) -> None:
    """Write a file atomically: write a temporary file beside the target, then rename it."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:  # it names the temporary file, not the requested one
        raise OSError(error.errno, error.strerror, str(target)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        # mkstemp creates private files; apply the user's umask instead.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

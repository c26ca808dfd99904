"""Files of a run: listed, read and checked."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from iplab.connection.retries import RETRY_DELAYS
from iplab.connection.transport import Transport, pause
from iplab.errors import ArtifactDamagedError, UnavailableError
from iplab.results.reading import read
from iplab.v1 import run_service_pb2


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a run has produced.

    Attributes:
        path: Within the run: "weights/final.safetensors".
        size_bytes: Its size.
        sha256: Of its bytes, in hexadecimal.
        step: Updates done when it was written.
        create_time: When it was committed (UTC).
    """

    path: str
    size_bytes: int
    sha256: str
    step: int
    create_time: datetime


def list_artifacts(transport: Transport, run: str) -> Iterator[Artifact]:
    """Files of the run of that name, ascending by path, fetched by page."""
    request = run_service_pb2.ListArtifactsRequest(parent=run)
    for entry in transport.listing(transport.runs.ListArtifacts, request, lambda page: page.artifacts):
        yield read(Artifact, entry)


def read_chunks(transport: Transport, run: str, artifact: Artifact) -> Iterator[bytes]:
    """The file's bytes in order. A broken stream is continued; size and checksum are verified at the end.

    Raises:
        ArtifactDamagedError: At the end, if they are not of the recorded size and checksum.
    """
    name = f"{run}/artifacts/{artifact.path}"
    digest, offset, failures = hashlib.sha256(), 0, 0
    while True:
        request = run_service_pb2.ReadArtifactRequest(name=name, offset=offset)
        try:
            for chunk in transport.stream(transport.runs.ReadArtifact, request):
                digest.update(chunk.data)
                offset += len(chunk.data)
                failures = 0
                yield chunk.data
            break
        except UnavailableError:
            if failures == len(RETRY_DELAYS):
                raise
            pause(RETRY_DELAYS[failures])
            failures += 1
    if offset != artifact.size_bytes or digest.hexdigest() != artifact.sha256:
        raise ArtifactDamagedError(
            f"{name} came as {offset} bytes with SHA-256 {digest.hexdigest()}; "
            f"recorded are {artifact.size_bytes} bytes with {artifact.sha256}"
        )


def save(chunks: Iterable[bytes], target: Path) -> None:
    """Write a file atomically: beside the target, then renamed."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:  # it names the file beside, which nobody has asked for
        raise OSError(error.errno, error.strerror, str(target)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        # mkstemp makes files private; the user's own mask says who may read this one.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

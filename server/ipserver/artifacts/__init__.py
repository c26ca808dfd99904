"""Storage of weights and checkpoints: a folder of this machine or a prefix in an S3 bucket.

`open_artifacts(root)` returns an `ArtifactStore`. Files are identified by locations relative to the root and
never change. A file is valid only once a commit in the store refers to it, with its size and SHA-256. Files
left behind by a worker that died are never read.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.errors import ArtifactsUnavailable

CHUNK_BYTES: Final = 2**20
# Errors that can be corrected while packs wait: a disk that is full, over its quota or broken, a missing file
# system, a limit on a file's size. Any other error (such as a root that is not a folder) is a set-up error.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE})


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that has been put into the artifact store.

    Attributes:
        size_bytes: Its size.
        sha256: Its SHA-256 in hexadecimal digits.
    """

    size_bytes: int
    sha256: str


class ArtifactStore(Protocol):
    """Files by location ("experiment/weights/p0000/1/r00000-final.safetensors"). Thread-safe.

    Every method may raise `ArtifactsUnavailable` if files cannot be reached now, and `ArtifactDamaged` if a
    location is outside the root.
    """

    def put(self, location: str, write: Callable[[Path], object]) -> Stored:
        """Store a file atomically, replacing an older one. The file is durable when this returns.

        Args:
            location: Location of the file.
            write: Writes the file to the given path.

        Raises:
            ArtifactsUnavailable: There is no space for the file now.
            OSError: The file cannot be written to this machine's disk for another reason.
        """

    def reading(self, location: str, sha256: str) -> AbstractContextManager[Path]:
        """A read-only path to the verified file on this machine, valid inside the context.

        Raises:
            ArtifactDamaged: The file is missing or has the wrong checksum.
        """

    def size(self, location: str) -> int | None:
        """Size of the file in bytes; None if there is no such file."""

    def chunks(self, location: str, offset: int = 0) -> Iterator[bytes]:
        """The file's bytes from `offset`, in chunks of at most `CHUNK_BYTES`. The checksum is not verified.

        Raises:
            ArtifactDamaged: The file cannot be read.
        """

    def below(self, location: str) -> Iterator[str]:
        """Locations of all files below a location, including files being written, in no particular order."""

    def delete(self, locations: Iterable[str]) -> None:
        """Remove files. Missing files are ignored."""

    def delete_folder(self, location: str) -> None:
        """Remove every file below a location, if there are any."""

    def delete_empty(self, location: str) -> None:
        """Remove the folder at a location and those below it that hold no files. Does nothing on S3."""

    def check(self, *, write: bool) -> None:
        """Check once that the root can be reached and, if `write`, written.

        Raises:
            ArtifactsUnavailable: The check failed. The message says why.
        """


def open_artifacts(root: ArtifactRoot) -> ArtifactStore:
    """The artifact store at a root. Nothing is opened before the first use.

    >>> import tempfile
    >>> store = open_artifacts(ArtifactRoot(tempfile.mkdtemp()))
    >>> store.put("first/r00000/1/note.txt", lambda path: path.write_text("42")).size_bytes
    2
    >>> b"".join(store.chunks("first/r00000/1/note.txt"))
    b'42'
    """
    # Import on demand: S3's libraries load slowly and a local folder does not need them.
    if root.folder is not None:
        from ipserver.artifacts.local import LocalArtifacts  # noqa: PLC0415

        return LocalArtifacts(root.folder)
    from ipserver.artifacts.s3 import S3Artifacts  # noqa: PLC0415

    return S3Artifacts(root)


@contextmanager
def writing(location: str) -> Iterator[None]:
    """Convert errors of a disk that is full, over quota or broken to ArtifactsUnavailable."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        reason = os.strerror(error.errno or 0)
        raise ArtifactsUnavailable(f"{location} cannot be written: {reason}") from error


def measured(path: Path) -> Stored:
    """Size and checksum of a local file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Stored(file.tell(), digest.hexdigest())

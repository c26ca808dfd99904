"""Where weights and checkpoints lie: a folder of this machine, or a prefix of an S3 bucket.

`open_artifacts(root)` gives an `ArtifactStore`. Files are named by locations relative to the root, and are
never changed. A file counts only once a commit in the store names it, with its size and SHA-256: what a
worker left behind before it died is never read.
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
# A disk that is full, over its quota or broken, a file system that is gone, a limit on a file's size: what a
# person can mend while packs wait. Anything else (a folder that is none, say) is an error of the set-up.
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

    Every method may raise `ArtifactsUnavailable` if files cannot be reached now, and `ArtifactDamaged` for a
    location outside the root.
    """

    def put(self, location: str, write: Callable[[Path], object]) -> Stored:
        """Store a file, whole or not at all, in the place of an older one; durable when it returns.

        Args:
            location: Where to.
            write: Writes the file to the path that it is given.

        Raises:
            ArtifactsUnavailable: There is no room for it (now).
            OSError: The file cannot be written to this machine's disk for another reason.
        """

    def reading(self, location: str, sha256: str) -> AbstractContextManager[Path]:
        """A path on this machine where the file lies, verified, while the context lasts. Only read there.

        Raises:
            ArtifactDamaged: The file is missing or has another checksum.
        """

    def size(self, location: str) -> int | None:
        """Bytes of the file; None: there is none."""

    def chunks(self, location: str, offset: int = 0) -> Iterator[bytes]:
        """The file's bytes from `offset`, at most `CHUNK_BYTES` at a time. Nothing is verified.

        Raises:
            ArtifactDamaged: The file cannot be read (any more).
        """

    def below(self, location: str) -> Iterator[str]:
        """Locations of all files below a location, also those that are being written; no order."""

    def delete(self, locations: Iterable[str]) -> None:
        """Remove files; what is not there is no error."""

    def delete_folder(self, location: str) -> None:
        """Remove every file below a location; nothing there is no error."""

    def delete_empty(self, location: str) -> None:
        """Remove folders below a location, and that one, if they hold no file (S3 has no folders)."""

    def check(self, *, write: bool) -> None:
        """Return if the root can be reached, and be written if so asked. Tries once.

        Raises:
            ArtifactsUnavailable: It cannot; says why.
        """


def open_artifacts(root: ArtifactRoot) -> ArtifactStore:
    """The artifact store at a root; nothing is opened before it is used.

    >>> import tempfile
    >>> store = open_artifacts(ArtifactRoot(tempfile.mkdtemp()))
    >>> store.put("first/r00000/1/note.txt", lambda path: path.write_text("42")).size_bytes
    2
    >>> b"".join(store.chunks("first/r00000/1/note.txt"))
    b'42'
    """
    # The libraries of S3 take a while to load, which a local folder need not.
    if root.folder is not None:
        from ipserver.artifacts.local import LocalArtifacts  # noqa: PLC0415

        return LocalArtifacts(root.folder)
    from ipserver.artifacts.s3 import S3Artifacts  # noqa: PLC0415

    return S3Artifacts(root)


@contextmanager
def writing(location: str) -> Iterator[None]:
    """Turn the error of a disk that takes no more (full, over quota, broken) into ArtifactsUnavailable."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        reason = os.strerror(error.errno or 0)
        raise ArtifactsUnavailable(f"{location} cannot be written: {reason}") from error


def measured(path: Path) -> Stored:
    """Size and checksum of a file of this machine."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Stored(file.tell(), digest.hexdigest())

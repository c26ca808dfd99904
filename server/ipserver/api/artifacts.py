"""Reads artifacts' files, and notices when they are not what was committed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ipserver.errors import ArtifactDamaged, FieldViolation, InvalidRequest
from ipserver.store.records import ArtifactRecord

CHUNK_BYTES = 2**20


def chunks(root: Path, record: ArtifactRecord, offset: int) -> Iterator[tuple[int, bytes]]:
    """The bytes of a file with their positions.

    Args:
        root: Folder that locations are relative to.
        record: The artifact.
        offset: First byte wanted, 0 .. size.

    Raises:
        InvalidRequest: The offset lies outside the file.
        ArtifactDamaged: The file is missing or has another size; or it was read from the start and has
            another checksum, which is known after its last byte.
    """
    if not 0 <= offset <= record.size_bytes:
        raise InvalidRequest(
            [FieldViolation("offset", f"must lie in 0 .. {record.size_bytes}, not {offset}")]
        )
    path = (root / record.location).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ArtifactDamaged(f"{record.path!r} is recorded at a place outside the artifact folder")
    try:
        file = path.open("rb")
    except OSError as error:
        raise ArtifactDamaged(f"the file of {record.path!r} cannot be read: {error.strerror}") from error
    with file:
        if (size := os.fstat(file.fileno()).st_size) != record.size_bytes:
            raise ArtifactDamaged(
                f"the file of {record.path!r} has {size} bytes but {record.size_bytes} were committed"
            )
        file.seek(offset)
        digest = hashlib.sha256()
        position = offset
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
            yield position, data
            position += len(data)
    if offset == 0 and digest.hexdigest() != record.sha256:
        raise ArtifactDamaged(f"the file of {record.path!r} no longer has the checksum that was committed")

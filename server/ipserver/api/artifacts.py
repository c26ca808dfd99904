"""Reads artifact files, and detects those that differ from what was committed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ipserver.artifacts import ArtifactStore
from ipserver.errors import ArtifactDamaged, FieldViolation, InvalidRequest
from ipserver.store.records.files import ArtifactRecord


def chunks(store: ArtifactStore, record: ArtifactRecord, offset: int) -> Iterator[tuple[int, bytes]]:
    """Read a file as (position, bytes) from an offset.

    Args:
        store: The artifact store.
        record: The artifact.
        offset: First byte, 0 .. size.

    Raises:
        InvalidRequest: The offset lies outside the file.
        ArtifactDamaged: The file is missing or has the wrong size; or, when read from the start, the wrong
            checksum, which is raised after its last byte.
        ArtifactsUnavailable: The artifact store cannot be reached.
    """
    if not 0 <= offset <= record.size_bytes:
        raise InvalidRequest(
            [FieldViolation("offset", f"must lie in 0 .. {record.size_bytes}, not {offset}")]
        )
    size = store.size(record.location)
    if size is None:
        raise ArtifactDamaged(f"the file of {record.path!r} is missing")
    if size != record.size_bytes:
        raise ArtifactDamaged(
            f"the file of {record.path!r} has {size} bytes but {record.size_bytes} were committed"
        )
    digest = hashlib.sha256()
    position = offset
    for data in store.chunks(record.location, offset):
        digest.update(data)
        yield position, data
        position += len(data)
    if offset == 0 and digest.hexdigest() != record.sha256:
        raise ArtifactDamaged(f"the file of {record.path!r} no longer has the checksum that was committed")

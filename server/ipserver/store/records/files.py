"""Files that the store refers to, and the root below which they lie."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A committed checkpoint.

    Attributes:
        path: Relative to the artifact root, with forward slashes.
        step: Number of updates done when it was written.
    """

    path: str
    size_bytes: int
    sha256: str
    step: int


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """A file produced by a slice.

    Attributes:
        path: Name within the run: "weights/final.safetensors".
        location: Relative to the artifact root, with forward slashes.
    """

    run_index: int
    path: str
    location: str
    size_bytes: int
    sha256: str
    step: int


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """A stored file of a run."""

    experiment: str
    run_index: int
    path: str
    location: str
    size_bytes: int
    sha256: str
    step: int
    create_time: float


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the store refers to.

    Attributes:
        location: Relative to the artifact root.
        sha256: SHA-256 in hexadecimal digits.
        checkpoint: Whether it is a pack's checkpoint, which is deleted once newer ones exist.
    """

    location: str
    sha256: str
    checkpoint: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a store.

    Attributes:
        uid: Random id, generated when it was first read.
        artifact_root: URL of the artifact root that the store was first used with; "": none yet.
    """

    uid: str
    artifact_root: str

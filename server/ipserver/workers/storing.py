"""Writing of a trainer's files to the artifact store, with the failpoints around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ipserver import failpoints
from ipserver.artifacts import ArtifactStore, Stored


def put(artifacts: ArtifactStore, point: str, location: str, write: Callable[[Path], object]) -> Stored:
    """Store a file (`ArtifactStore.put`) at a failpoint ("weights", "checkpoint")."""
    with failpoints.around(point):
        return artifacts.put(location, failpoints.then(write, f"{point}.during"))

"""Temporary folders for uploads to and downloads from S3."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ipserver.artifacts import writing
from ipserver.environment.private_folder import PrivateFolder, remove_abandoned

_PREFIX: Final = "iplab-scratch-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder that exists inside the context. The first use removes folders of killed processes.

    Raises:
        ArtifactsUnavailable: The disk has no space for the folder.
    """
    place = Path(tempfile.gettempdir())
    _tidy_once(place)
    with writing(str(place)):
        folder = PrivateFolder(place, _PREFIX)
    with folder:
        yield folder.path


@functools.cache
def _tidy_once(place: Path) -> None:
    remove_abandoned(place, _PREFIX)

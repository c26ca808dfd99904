"""A service for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.running import Unavailable, running
from tests.faults.scenarios import Scene


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A service on the store that the test requests. Its MLflow is a database, which starts faster.

    A module may name further settings of its parts: SETTINGS.
    """
    settings = getattr(request.module, "SETTINGS", None)
    try:
        with running(request.param, mlflow_server=False, settings=settings) as scene:
            yield scene
    except Unavailable as reason:
        pytest.skip(str(reason))

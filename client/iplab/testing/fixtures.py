"""Fixtures for pytest: `pytest_plugins = ["iplab.testing.fixtures"]` in a conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iplab.client import Client
from iplab.testing.service import FakeService


@pytest.fixture
def iplab_service() -> Iterator[FakeService]:
    """An empty fake service."""
    with FakeService() as service:
        yield service


@pytest.fixture
def iplab_client(iplab_service: FakeService) -> Iterator[Client]:
    """A client of `iplab_service`."""
    with iplab_service.connect() as client:
        yield client

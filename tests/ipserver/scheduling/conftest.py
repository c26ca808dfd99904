"""Settings, a store and an executor with threads."""

import pytest

from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.support import settings_in, store_in


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path, checkpoint_seconds=1e9)


@pytest.fixture
def store(settings):
    return store_in(settings)


@pytest.fixture
def executor():
    executor = LocalExecutor()
    yield executor
    executor.close()

"""For the whole suite."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start Ray in this process go first.

    Ray forks to start its processes, and a child that is forked while gRPC threads run may hang.
    """
    items.sort(key=lambda item: item.path.name != "test_ray_executor.py")

"""An address at which nothing listens."""

import socket

import pytest


@pytest.fixture
def nowhere():
    """An address of this machine where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"

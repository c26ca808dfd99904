"""For all tests of the server."""

import pytest

from tests.ipserver.s3 import serving_s3


@pytest.fixture(scope="session")
def s3():
    with serving_s3() as server:
        yield server

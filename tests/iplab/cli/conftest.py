"""Commands against the service of the SDK's tests."""

import pytest
import yaml
from click.testing import CliRunner

from iplab.cli import main
from tests.iplab.conftest import small_spec


@pytest.fixture
def iplab(service):
    """Run a command; return click's result, with separate output streams."""

    def call(*arguments, address=service.address, stdin=None):
        return CliRunner().invoke(main, ["--address", address, *map(str, arguments)], input=stdin)

    return call


@pytest.fixture
def spec_file(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(small_spec()))
    return file

"""Libraries that an import loads, and libraries that the thin client must not need."""

import subprocess
import sys

import pytest

import iplab


def loaded_after(statement, names):
    """Those of `names` that a new interpreter has loaded after a statement."""
    code = f"{statement}; import sys; print(*[n for n in {names!r} if n in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_importing_the_package_loads_no_heavy_library():
    assert loaded_after("import iplab", ["grpc", "numpy", "rich", "yaml", "google.protobuf", "torch"]) == []


def test_the_whole_sdk_and_cli_need_no_server_library():
    everything = "import iplab, iplab.cli; [getattr(iplab, name) for name in iplab.__all__]"
    heavy = ["torch", "ray", "mlflow", "ipserver", "pandas", "sqlalchemy", "pyarrow"]
    assert loaded_after(everything, heavy) == []


def test_help_loads_no_grpc():
    assert loaded_after("import iplab.cli", ["grpc", "numpy", "rich"]) == []


def test_every_public_name_is_there():
    for name in iplab.__all__:
        assert getattr(iplab, name).__doc__
    assert set(dir(iplab)) == set(iplab.__all__)
    with pytest.raises(AttributeError, match="no attribute 'konnect'"):
        iplab.konnect  # noqa: B018 - the access is the test

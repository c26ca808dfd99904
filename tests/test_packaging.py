"""The three packages import from the repository and from a wheel, and importing them is cheap."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("iplab", "ipcore", "ipserver")
HEAVY = (
    "grpc",
    "google.protobuf",
    "numpy",
    "torch",
    "sklearn",
    "ray",
    "mlflow",
    "sqlalchemy",
    "pydantic",
    "rich",
)


def run(program, folder, path=""):
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without network and unpacked."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(out / "site")
    return out / "site"


WHERE = "import iplab, ipcore, ipserver; print(iplab.__file__, ipcore.__file__, ipserver.__file__)"


def test_an_editable_install_imports_from_the_repository(tmp_path):
    assert run(WHERE, tmp_path) == [
        str(ROOT / folder / "__init__.py") for folder in ("client/iplab", "ipcore", "server/ipserver")
    ]


def test_a_wheel_holds_all_three_packages(wheel, tmp_path):
    assert run(WHERE, tmp_path, wheel) == [str(wheel / package / "__init__.py") for package in PACKAGES]


def test_a_wheel_brings_types_and_migrations_and_nothing_else(wheel):
    assert {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")} == set(PACKAGES)
    assert all((wheel / package / "py.typed").exists() for package in PACKAGES)
    assert list((wheel / "ipserver" / "store" / "migrations" / "versions").glob("*.py"))


def test_a_store_can_be_made_from_a_wheel(wheel, tmp_path):
    program = (
        "from ipserver.store import migrate, open_store, check_schema\n"
        f"dsn = 'sqlite:///{tmp_path}/new.db'\n"
        "migrate(dsn)\n"
        "check_schema(open_store(dsn))\n"
        "import ipserver; print(ipserver.__file__)"
    )

    assert run(program, tmp_path, wheel) == [str(wheel / "ipserver" / "__init__.py")]


@pytest.mark.parametrize(
    "package", [*PACKAGES, "ipcore.theory", "ipcore.catalogue", "ipcore.planning.memory"]
)
def test_importing_is_cheap(package, tmp_path):
    program = f"import sys, {package}; print(*(name for name in {HEAVY} if name in sys.modules))"

    assert run(program, tmp_path) == []


def test_the_client_needs_none_of_the_servers_libraries(tmp_path):
    program = (
        "import sys, iplab, iplab.cli\n"
        "client = iplab.connect('127.0.0.1:1')\n"
        "client.close()\n"
        "servers = ('torch', 'ray', 'mlflow', 'sqlalchemy', 'ipserver')\n"
        "print(*(name for name in servers if name in sys.modules))"
    )

    assert run(program, tmp_path) == []


def test_what_the_readme_installs_are_the_tested_versions():
    lines = (ROOT / "README.md").read_text().splitlines()
    installs = [line.split("#")[0].split() for line in lines if line.startswith("    pip install")]
    assert len(installs) == 4
    assert all(words[2:4] == ["-c", "constraints.txt"] for words in installs)


def test_only_what_knows_which_boto3_it_fits_asks_for_it():
    """Asked for beside s3fs, the newest boto3 made pip go through all versions of s3fs, and fail."""
    server = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][
        "server"
    ]
    assert not [line for line in server if line.startswith(("boto3", "botocore"))]
    assert any(line.startswith("aiobotocore[boto3]") for line in server)

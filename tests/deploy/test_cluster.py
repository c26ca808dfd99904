"""`make cluster-test` says why it cannot run, and removes what a killed run left behind."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests.cluster import containers
from tests.cluster.postgres import _lock, databases

ROOT = Path(__file__).resolve().parents[2]
POSTGRES = os.environ.get("IPLAB_TEST_POSTGRES", "")
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root")


def _cluster_test(*prefix: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")}
    return subprocess.run(
        [*prefix, sys.executable, "-m", "tests.cluster"],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_postgresql_it_says_so() -> None:
    done = _cluster_test()
    assert done.returncode == 0
    assert done.stdout.startswith("SKIPPED: IPLAB_TEST_POSTGRES holds no DSN")


@ROOT_ONLY
def test_without_the_right_to_make_namespaces_it_says_so() -> None:
    dsn = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    done = _cluster_test("setpriv", "--bounding-set=-all", "--inh-caps=-all", IPLAB_TEST_POSTGRES=dsn)
    assert done.returncode == 0
    assert done.stdout.startswith("SKIPPED: no network namespaces here (they need root and Linux)")


def test_ci_runs_it() -> None:
    assert "make cluster-test" in (ROOT / ".ci" / "run").read_text().splitlines()
    assert "python -m tests.cluster" in (ROOT / "Makefile").read_text()


def _names() -> set[str]:
    with psycopg.connect(
        make_url(POSTGRES).set(drivername="postgresql").render_as_string(False)
    ) as connection:
        query = "SELECT rolname FROM pg_roles UNION SELECT datname FROM pg_database"
        return {str(name) for (name,) in connection.execute(query).fetchall()}


def _wait_until_nobody_holds(name: str) -> None:
    """Wait until the server notices that a client was killed; until then it keeps the client's locks."""
    deadline = time.monotonic() + 60
    with psycopg.connect(
        make_url(POSTGRES).set(drivername="postgresql").render_as_string(False)
    ) as connection:
        while not _lock(connection, name):
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason="IPLAB_TEST_POSTGRES is not set")
def test_databases_of_a_killed_test_go_with_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from tests.cluster.postgres import databases\n"
        "with databases(sys.argv[1], 'postgres') as made:\n"
        "    print(made.iplab.rpartition('/')[2], flush=True)\n"
        "    sys.stdin.readline()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", code, POSTGRES]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as killed:
        name = killed.stdout.readline().strip()
        assert {name, f"{name}_mlflow"} <= _names()
        killed.communicate("\n")
    _wait_until_nobody_holds(name)
    with databases(POSTGRES, "postgres") as one:
        assert not {name, f"{name}_mlflow"} & _names()
        # Databases of a test that still runs stay.
        with databases(POSTGRES, "postgres"):
            assert one.iplab.rpartition("/")[2] in _names()
    assert one.iplab.rpartition("/")[2] not in _names()


@ROOT_ONLY
def test_a_container_sees_programs_and_our_code_and_nothing_else(tmp_path: Path) -> None:
    """Built below a path with blanks. This machine's files in it are read-only; it has no home folders."""
    folder = tmp_path / "a folder"
    root = folder / "root"
    root.mkdir(parents=True)
    containers.make_programs(folder)
    mounts = containers._this_machine(root)
    mounts += [containers._bind(source, root / target[1:]) for source, target in containers._needed(folder)]
    chroot = f"chroot {containers._quoted(root)}"
    python = f"{containers.PREFIX}/bin/python"
    seen = [
        f"{chroot} ls /",
        f"{chroot} {python} -c 'import sys, yaml; print(sys.executable, sys.prefix)'",
        f"{chroot} {containers.PREFIX}/bin/ipserver --version",
        f"! {chroot} touch /usr/x 2>/dev/null",
    ]
    script = "\n".join(["set -eu", *mounts, *seen])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert not {"home", "mnt", "var"} & set(done.stdout.split())
    assert f"{python} {containers.PREFIX}\n" in done.stdout
    assert list(root.iterdir()) == []

"""`make cluster-test`: checks the promises of a whole cluster on one machine. See the package's docstring.

This half prepares what needs this machine's network (databases, the thin client's environment) and then
starts `tests.cluster.inside` in a separate network namespace.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.cluster import compose
from tests.cluster.containers import ROOT
from tests.cluster.postgres import databases

_TOOLS = ("unshare", "nsenter", "setpriv", "mount", "ip")
_APART = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# Everything ends with this process, however it ends: a namespace ends with its first process.
_TIED = ("setpriv", "--pdeathsig", "KILL")
# Ends a hang. On two idle cores the test takes a fraction of this.
_SECONDS = 900.0


def main() -> int:
    """Run the test; return an exit code. If this machine cannot run it, the reason is printed: no failure."""
    if reason := _why_not():
        print(f"SKIPPED: {reason}")
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        # As for Ctrl-C: everything created is removed at the end.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="iplab-cluster-"))
    folder.chmod(0o755)
    for name in ("logs", "root"):
        (folder / name).mkdir()
    code = 1
    try:
        print(f"preparing in {folder} ...", flush=True)
        _thin_client(folder)
        with databases(os.environ["IPLAB_TEST_POSTGRES"], "postgres") as made:
            _secrets(folder, made.iplab, made.mlflow)
            with _relay(folder, made.server):
                code = _inside(folder)
    except psycopg.Error as error:
        print(f"FAILED: IPLAB_TEST_POSTGRES: {error}")
    finally:
        _clean(folder, keep_logs=bool(code))
    return code


def _clean(folder: Path, *, keep_logs: bool) -> None:
    """Remove everything that was created; after a failure the logs remain."""
    for path in folder.iterdir():
        if path.is_dir() and not (keep_logs and path.name == "logs"):
            shutil.rmtree(path)
        elif not path.is_dir():
            path.unlink()
    if keep_logs and any((folder / "logs").iterdir()):
        print(f"logs are kept in {folder / 'logs'}")
    else:
        shutil.rmtree(folder)


def _why_not() -> str:
    if not os.environ.get("IPLAB_TEST_POSTGRES"):
        return "IPLAB_TEST_POSTGRES holds no DSN, as postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"not installed: {', '.join(missing)} (util-linux and iproute2 on Linux)"
    if compose.program() is None:
        return "Docker Compose is not installed, and PyPI has no wheel of it for this machine"
    probe = "ip link add probe type bridge && mount -t tmpfs tmpfs /run"
    tried = subprocess.run([*_APART, "sh", "-ec", probe], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespaces here (they need root and Linux): {tried.stderr.strip()}"
    return ""


def _thin_client(folder: Path) -> None:
    """The wheel in an otherwise empty environment."""
    uv = [sys.executable, "-m", "uv"]
    dist = folder / "dist"
    _quietly([*uv, "build", "--quiet", "--wheel", "--no-build-isolation", "--out-dir", str(dist), str(ROOT)])
    python = str(folder / "client" / "bin" / "python")
    _quietly([sys.executable, "-m", "venv", "--without-pip", str(folder / "client")])
    wheel = str(next(dist.glob("*.whl")))
    constraints = str(ROOT / "constraints.txt")
    _quietly([*uv, "pip", "install", "--quiet", "--python", python, "-c", constraints, wheel])


def _secrets(folder: Path, store: str, mlflow_store: str) -> None:
    _quietly([str(ROOT / "deploy" / "make-secrets"), str(folder / "secrets")])
    (folder / "secrets" / "store").write_text(store)
    (folder / "secrets" / "mlflow_store").write_text(mlflow_store)


@contextmanager
def _relay(folder: Path, server: str) -> Iterator[None]:
    """PostgreSQL on a Unix socket, which is reachable from network namespaces.

    The socket's path is relative to its folder, since it may have at most 107 bytes.
    """
    script = Path(__file__).with_name("relay.py").resolve()
    process = subprocess.Popen(
        [*_TIED, sys.executable, str(script), "unix:postgres.sock", server], cwd=folder
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _inside(folder: Path) -> int:
    process = subprocess.Popen(
        [*_TIED, *_APART, sys.executable, "-m", "tests.cluster.inside", str(folder)], cwd=ROOT
    )
    try:
        return process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"FAILED: not done within {_SECONDS:.0f} s")
        return 1
    finally:
        process.kill()
        process.wait()


def _quietly(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())

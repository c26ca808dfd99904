"""A service for a test, with its own disk and database."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.faults.lab import Lab, loopback_only
from tests.faults.scenarios import Scene

POSTGRES = os.environ.get("IPLAB_TEST_POSTGRES", "")
DISK_MEGABYTES = 96


class Unavailable(Exception):
    """A requirement is not met on this machine; the message says which."""


@contextmanager
def running(kind: str, *, mlflow_server: bool, settings: Mapping[str, str] | None = None) -> Iterator[Scene]:
    """A service on "sqlite" or "postgresql"; for `settings` see `Lab`.

    Raises:
        Unavailable: There is no such server, or no network namespace for Ray.
    """
    namespace, reason = loopback_only()
    if not namespace:
        raise Unavailable(f"Ray needs a network of its own: {reason}")
    if kind == "postgresql" and not POSTGRES:
        raise Unavailable("IPLAB_TEST_POSTGRES is not set")
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    (folder / "home").mkdir()
    try:
        with _own_disk(folder / "home") as disk, new_database(kind, folder) as (dsn, postgres):
            lab = Lab(folder, dsn, postgres, namespace, mlflow_server=mlflow_server, settings=settings)
            try:
                lab.start_all()
                yield Scene(lab, own_disk=disk)
            finally:
                lab.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _own_disk(folder: Path) -> Iterator[bool]:
    """A small file system at a folder, which tests can fill, if this user may mount one."""
    size = f"size={DISK_MEGABYTES}m"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[tuple[str, str]]:
    """The DSN of a new database, and HOST:PORT of its server if it has one."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/home/iplab.db", ""
        return
    schema = f"faults_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    try:
        url = sa.make_url(POSTGRES)
        dsn = url.update_query_dict({"options": f"-csearch_path={schema}"})
        yield dsn.render_as_string(hide_password=False), f"{url.host}:{url.port or 5432}"
    finally:
        with engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(schema, cascade=True))
        engine.dispose()

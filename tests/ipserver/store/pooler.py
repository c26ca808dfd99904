"""A PgBouncer for one test, in front of the PostgreSQL of IPLAB_TEST_POSTGRES."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.ports import free_port

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

_CONFIG = """
[databases]
* = host={host} port={port} user={user} {password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
{more}
"""


@contextmanager
def pooling(folder: Path, postgres: str, mode: str, size: int = 4, more: str = "") -> Iterator[sa.URL]:
    """The address of a running pooler. It has few connections to PostgreSQL, so that callers share them.

    Args:
        folder: Folder for its settings.
        postgres: DSN of the server behind it.
        mode: "transaction", "session" or "statement".
        size: Connections per database.
        more: Additional lines of its settings.
    """
    assert PGBOUNCER is not None
    url = sa.make_url(postgres)
    listen = free_port()
    password = f"password={url.password}" if url.password else ""
    text = _CONFIG.format(
        host=url.host or "127.0.0.1",
        port=url.port or 5432,
        user=url.username or "postgres",
        password=password,
        listen=listen,
        mode=mode,
        size=size,
        more=more,
    )
    settings = folder / "pgbouncer.ini"
    settings.write_text(text)
    # It refuses to run as root.
    command = [PGBOUNCER, *(["--user", "nobody"] if os.getuid() == 0 else []), str(settings)]
    with (folder / "pgbouncer.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not _listens(listen):
            assert process.poll() is None, (folder / "pgbouncer.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url.set(host="127.0.0.1", port=listen)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def own_database(postgres: str) -> Iterator[str]:
    """The name of a new database on a server, which is dropped at the end."""
    name = f"iplab_{os.getpid()}_{time.monotonic_ns()}"
    admin = sa.create_engine(postgres, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            yield name
        finally:
            with admin.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        admin.dispose()

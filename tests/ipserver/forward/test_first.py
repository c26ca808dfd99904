"""MLflow's database is created completely or not at all, even after kills, and by one process at a time."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from ipserver.errors import NotReady
from ipserver.forward import first
from ipserver.forward.connect import connect
from tests.ipserver.store.pooler import PGBOUNCER, own_database, pooling
from tests.ipserver.support import settings_in

ROOT = Path(__file__).parents[3]
POSTGRES = os.environ.get("IPLAB_TEST_POSTGRES", "")

# Two makers at once in the first folder, and makers that are killed in the second: forks of a process that
# has loaded MLflow and what makes its tables, which takes seconds.
MAKERS = """
import os, signal, sys, time
from pathlib import Path
import alembic.command, mlflow.store.tracking.sqlalchemy_store
from ipserver.forward.connect import connect
from tests.ipserver.support import settings_in
children = []
for _ in range(2):
    children.append(os.fork())
    if children[-1] == 0:
        connect(settings_in(Path(sys.argv[1])))
        os._exit(0)
print(*(os.waitpid(child, 0)[1] for child in children))
home, begun, finished = Path(sys.argv[2]), 0, 0
settings, new = settings_in(home), home / "mlflow" / ".mlflow.db.new"
def making_since(start):  # the file of the one before may be there
    try:
        return new.stat().st_mtime_ns > start
    except FileNotFoundError:
        return False
for moment in range(40):
    start = time.time_ns()
    child = os.fork()
    if child == 0:
        connect(settings)
        os._exit(0)
    end = None  # counted from the moment at which it has begun
    while not finished and (end is None or time.monotonic() < end):
        time.sleep(0.005)
        finished = os.waitpid(child, os.WNOHANG) == (child, 0)
        if end is None and making_since(start):
            end = time.monotonic() + 0.02 * 2.5**moment
    if finished:
        break
    begun += 1
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(begun, int(finished))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two folders in which MLflow's database was made, and the numbers that were printed for each."""
    folders = tmp_path_factory.mktemp("together"), tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", MAKERS, *map(str, folders)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [[int(word) for word in line.split()] for line in done.stdout.splitlines()[-2:]]
    return dict(zip(("together", "killed"), zip(folders, told, strict=True), strict=True))


def half_made(path):
    """A database as after a kill of MLflow: some tables, an intermediate version, no experiment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT);"
            "CREATE TABLE runs (run_uuid TEXT PRIMARY KEY);"
            "CREATE TABLE alembic_version (version_num TEXT);"
            "INSERT INTO alembic_version VALUES ('451aebb31d03');"
        )


def test_a_new_one_is_whole_and_leaves_nothing_beside(tmp_path):
    settings = settings_in(tmp_path)

    connect(settings).run("lab", "experiments/lab/runs/r0", 0, {})

    log = {"mlflow.db-wal", "mlflow.db-shm"}  # files of the forwarder's open connection
    assert {file.name for file in (tmp_path / "mlflow").iterdir()} - log == {"mlflow.db", "mlflow.db.lock"}
    first.require_finished(tmp_path / "mlflow" / "mlflow.db")
    connect(settings)  # a second time


def test_a_kill_at_any_moment_leaves_it_usable(made):
    """Processes that create it are killed one after another, each later than the last, until one succeeds."""
    folder, (begun, finished) = made["killed"]

    assert begun >= 3, "too few makers were killed in the middle of it"
    assert finished == 1
    first.require_finished(folder / "mlflow" / "mlflow.db")


def test_what_mlflow_itself_has_left_half_made_is_set_aside_in_our_home(tmp_path, caplog):
    database = tmp_path / "mlflow" / "mlflow.db"
    half_made(database)
    with pytest.raises(NotReady, match=r"its creation was interrupted.*`rm .*mlflow\.db`"):
        connect(settings_in(tmp_path), make=False)

    connect(settings_in(tmp_path))

    assert "it is set aside" in caplog.text
    assert (database.parent / "mlflow.db.unfinished").exists()


def test_elsewhere_it_is_left_alone_and_the_remedy_is_said(tmp_path):
    database = tmp_path / "other" / "mlflow.db"
    half_made(database)
    before = database.read_bytes()

    with pytest.raises(NotReady, match=r"IPLAB_MLFLOW_TRACKING_URI: .*its creation was interrupted"):
        connect(settings_in(tmp_path, mlflow_tracking_uri=f"sqlite:///{database}"))

    assert database.read_bytes() == before


def test_a_database_with_an_experiment_is_never_touched(tmp_path):
    """Even if it belongs to another version of MLflow, which MLflow reports."""
    database = tmp_path / "mlflow" / "mlflow.db"
    half_made(database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO experiments VALUES (0, 'Default')")

    with pytest.raises(NotReady, match="cannot be used as MLflow"):
        connect(settings_in(tmp_path))

    assert not (database.parent / "mlflow.db.unfinished").exists()


def test_two_forwarders_make_one(made):
    """Both succeed; the second waits for the first."""
    folder, statuses = made["together"]

    assert statuses == [0, 0]
    first.require_finished(folder / "mlflow" / "mlflow.db")


def test_turns_are_taken(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    order = []

    def second():
        with first.taking_turns(uri):
            order.append("second")

    with first.taking_turns(uri):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason="IPLAB_TEST_POSTGRES is not set")
def test_two_forwarders_make_one_on_postgresql(tmp_path):
    with own_database(POSTGRES) as name:
        uri = sa.make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
        problems = []

        def start():
            try:
                connect(settings_in(tmp_path, mlflow_tracking_uri=uri))
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason="IPLAB_TEST_POSTGRES is not set")
@pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer (Debian: apt-get install pgbouncer)")
def test_mlflows_database_may_lie_behind_a_pooler(tmp_path):
    with own_database(POSTGRES) as name, pooling(tmp_path, POSTGRES, "transaction") as url:
        uri = url.set(database=name).render_as_string(hide_password=False)
        sink = connect(settings_in(tmp_path, mlflow_tracking_uri=uri))
        problems = []

        def send(number):
            try:
                for turn in range(4):
                    run, _ = sink.run("lab", f"experiments/lab/runs/r{number}-{turn}", 0, {"tag": "t"})
                    sink.send(run, {"width": "64"}, {}, [("loss", 0.5, 1, step) for step in range(8)])
                    sink.finish(run, "FINISHED", 1)
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []


def test_an_empty_file_is_none_yet(tmp_path, empty_mlflow):
    database = tmp_path / "mlflow" / "mlflow.db"
    database.parent.mkdir()
    database.touch()
    with first.taking_turns(f"sqlite:///{database}"):
        first.make(database, lambda uri: shutil.copy(empty_mlflow, first.sqlite_path(uri)), ours=False)
    first.require_finished(database)

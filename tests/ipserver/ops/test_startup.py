"""Messages and waiting of a part if a requirement is missing, wrong or belongs to another service."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from ipserver.artifacts import open_artifacts
from ipserver.cli import main
from ipserver.errors import ArtifactsUnavailable, NotReady, StartupError
from ipserver.forward.connect import connect
from ipserver.ops.ownership import MARK, settle_artifacts
from ipserver.ops.parts import run_dispatch
from ipserver.ops.startup import check_data, migrate_store, open_service, prepare_home, waiting
from ipserver.store import Store, migrate, open_store
from tests.ipserver.s3 import KEY, SECRET
from tests.ipserver.support import settings_in, store_in

POSTGRES = os.environ.get("IPLAB_TEST_POSTGRES", "")


class Clock:
    """A clock that sleeping advances."""

    def __init__(self):
        self.now = 0.0
        self.rests = []

    def sleep(self, seconds):
        self.rests.append(seconds)
        self.now += seconds

    def __call__(self):
        return self.now


@pytest.fixture
def nowhere():
    """An address of this machine where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


# Waiting.


def attempts(clock, seconds, outcomes, settings):
    """Result of `waiting` for attempts with these outcomes: errors that they raise, or a value."""
    turns = iter(outcomes)

    def attempt():
        outcome = next(turns)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    settings = settings.model_copy(update={"wait_seconds": seconds})
    return waiting(settings, attempt, sleep=clock.sleep, monotonic=clock)


def test_without_waiting_the_first_trouble_ends_it(tmp_path):
    clock = Clock()
    with pytest.raises(NotReady, match=r"^down$"):
        attempts(clock, 0, [NotReady("down"), "up"], settings_in(tmp_path))

    assert clock.rests == []


def test_waiting_tries_again_with_growing_rests_and_tells_each_try(tmp_path, caplog):
    clock = Clock()
    down = [NotReady("down")] * 6

    assert attempts(clock, 60, [*down, "up"], settings_in(tmp_path)) == "up"

    assert clock.rests == [0.5, 1, 2, 4, 8, 10]
    assert [record.message for record in caplog.records][:2] == [
        "not ready, tried for another 60 s: down",
        "not ready, tried for another 60 s: down",
    ]
    assert len(caplog.records) == 6


def test_waiting_has_a_bound(tmp_path):
    clock = Clock()
    with pytest.raises(NotReady, match="still down; gave up after 5 s"):
        attempts(clock, 5, [NotReady("still down")] * 10, settings_in(tmp_path))

    assert clock.now == 5


def test_what_time_does_not_mend_is_not_waited_for(tmp_path):
    clock = Clock()
    with pytest.raises(StartupError, match="newer"):
        attempts(clock, 60, [NotReady("down"), StartupError("newer")], settings_in(tmp_path))

    assert clock.rests == [0.5]


# The store.


@pytest.mark.parametrize("name", ["nohost.invalid", "127.0.0.1"])
def test_a_database_out_of_reach_is_named_without_its_password(tmp_path, nowhere, name):
    port = nowhere.rpartition(":")[2]
    settings = settings_in(tmp_path, store=f"postgresql+psycopg://lab:hid/den@{name}:{port}/iplab")

    for start in (migrate_store, lambda settings: open_service(settings, write=False)):
        with pytest.raises(NotReady) as caught:
            start(settings)
        told = str(caught.value)
        assert told.startswith(
            f"IPLAB_STORE: the store postgresql+psycopg://lab:***@{name}:{port}/iplab cannot"
        )
        assert "check its host, port, user, password and database name" in told
        assert "hid/den" not in told


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason="IPLAB_TEST_POSTGRES is not set")
@pytest.mark.parametrize(
    ("change", "message"),
    [({"database": "nobodys"}, 'database "nobodys" does not exist'), ({"username": "nobody"}, "nobody")],
)
def test_what_postgresql_refuses_is_named(tmp_path, change, message):
    dsn = sa.make_url(POSTGRES).set(password="hidden", **change).render_as_string(hide_password=False)

    with pytest.raises(NotReady, match=rf"IPLAB_STORE: .*{message}") as caught:
        open_service(settings_in(tmp_path, store=dsn), write=False)
    assert "hidden" not in str(caught.value)


def test_a_store_without_tables_may_get_them(tmp_path):
    with pytest.raises(NotReady, match=r"has no tables yet.*run ipserver migrate"):
        open_service(settings_in(tmp_path), write=False)


def test_a_schema_newer_than_the_code_is_not_waited_for(tmp_path):
    settings = settings_in(tmp_path, wait_seconds=3600)
    with store_in(settings) as store, store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(StartupError, match="schema 9999, which is newer than this code; update iplab"):
        open_service(settings, write=False)


# Artifacts and their owner.


@pytest.fixture(params=["folder", "s3"])
def roots(request, tmp_path):
    """Settings of one service, and of a part with another artifact root; both folders or both in S3."""

    def settings(artifacts):
        s3 = request.param == "s3"
        keys = {"s3_access_key_id": KEY, "s3_secret_access_key": SECRET} if s3 else {}
        endpoint = {"s3_endpoint_url": server.endpoint} if s3 else {}
        return settings_in(tmp_path / "home", artifacts=artifacts, **keys, **endpoint)

    if request.param == "folder":
        return settings(str(tmp_path / "one")), settings(str(tmp_path / "two"))
    server = request.getfixturevalue("s3")
    return settings(server.root().url), settings(server.root().url)


def test_the_first_part_marks_the_artifacts(roots):
    settings, _ = roots
    store_in(settings).close()

    with open_service(settings, write=False) as store:
        identity = store.identity()
    files = open_artifacts(settings.artifact_root)

    assert identity.artifact_root == settings.artifact_root.url
    assert b"".join(files.chunks(MARK)).decode().splitlines()[0] == identity.uid
    open_service(settings, write=True).close()


def test_parts_with_other_artifacts_on_one_store_are_refused(roots):
    settings, other = roots
    store_in(settings).close()
    open_service(settings, write=True).close()

    with pytest.raises(StartupError) as caught:
        open_service(other, write=False)

    told = str(caught.value)
    assert not isinstance(caught.value, NotReady)
    assert told.startswith("IPLAB_ARTIFACTS: the store sqlite:///")
    assert f"keeps its artifacts at {settings.artifact_root.url}, not at {other.artifact_root}" in told
    assert open_artifacts(other.artifact_root).size(MARK) is None
    assert SECRET not in told


def test_parts_with_another_store_on_the_same_artifacts_are_refused(roots, tmp_path):
    settings, _ = roots
    store_in(settings).close()
    open_service(settings, write=True).close()
    dsn = f"sqlite:///{tmp_path}/other.db"
    migrate(dsn)
    other = type(settings)(**settings.model_dump() | {"store": dsn})

    with pytest.raises(StartupError) as caught:
        open_service(other, write=False)

    with open_store(dsn) as store:
        uid = store.identity().uid
    assert "belongs to another store (id " in str(caught.value)
    assert f"than IPLAB_STORE, {dsn} (id {uid})" in str(caught.value)


def test_of_parts_that_start_at_once_with_different_artifacts_one_wins(roots, monkeypatch):
    settings, other = roots
    store_in(settings).close()
    claim = Store.claim_artifacts

    def claimed_late(store, url):
        if url == other.artifact_root.url:
            open_service(settings, write=True).close()  # meanwhile the first one starts
        return claim(store, url)

    monkeypatch.setattr(Store, "claim_artifacts", claimed_late)
    with pytest.raises(StartupError, match="keeps its artifacts at"):
        open_service(other, write=True)

    assert open_artifacts(other.artifact_root).size(MARK) is None
    open_service(settings, write=True).close()


def test_artifacts_that_moved_with_their_mark_are_the_same(tmp_path):
    settings = settings_in(tmp_path / "home", artifacts=str(tmp_path / "one"))
    store_in(settings).close()
    open_service(settings, write=True).close()
    (tmp_path / "one").rename(tmp_path / "two")

    open_service(settings_in(tmp_path / "home", artifacts=str(tmp_path / "two")), write=True).close()


def test_a_home_may_be_moved(tmp_path):
    store_in(settings_in(tmp_path / "one")).close()
    open_service(settings_in(tmp_path / "one"), write=True).close()
    (tmp_path / "one").rename(tmp_path / "two")

    open_service(settings_in(tmp_path / "two"), write=True).close()


def test_a_folder_that_is_not_mounted_is_not_taken_for_the_artifacts(tmp_path):
    settings = settings_in(tmp_path / "home", artifacts=str(tmp_path / "mounted"))
    store_in(settings).close()
    open_service(settings, write=True).close()
    (tmp_path / "mounted").rename(tmp_path / "elsewhere")

    with pytest.raises(StartupError, match=r"is the folder mounted\?"):
        open_service(settings, write=False)


def test_artifacts_that_were_deleted_are_missed_until_somebody_says_so(roots):
    settings, _ = roots
    store_in(settings).close()
    open_service(settings, write=True).close()
    files = open_artifacts(settings.artifact_root)
    files.delete([MARK])

    with pytest.raises(StartupError, match=rf"{MARK} is missing there") as caught:
        open_service(settings, write=True)
    assert f"not at {settings.artifact_root}" not in str(caught.value)

    (uid,) = re.findall(r"write (\w+) into a file", str(caught.value))
    files.put(MARK, lambda path: path.write_text(uid))
    open_service(settings, write=True).close()


def test_a_home_of_before_artifacts_had_an_owner_simply_works(tmp_path):
    settings = settings_in(tmp_path)
    prepare_home(settings)
    migrate(settings.store_dsn, to="0001")
    old = tmp_path / "artifacts" / "first" / "r00000" / "final.safetensors"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"weights")

    migrate_store(settings)
    open_service(settings, write=False).close()

    assert open_artifacts(settings.artifact_root).size("first/r00000/final.safetensors") == 7
    open_service(settings, write=True).close()


def test_a_part_that_died_between_mark_and_claim_is_finished_by_the_next(roots):
    settings, _ = roots
    with store_in(settings) as store:
        uid = store.identity().uid
    if settings.artifact_root.folder:
        settings.artifact_root.folder.mkdir()
    open_artifacts(settings.artifact_root).put(MARK, lambda path: path.write_text(f"{uid}\n"))

    with open_service(settings, write=False) as store:
        assert store.identity().artifact_root == settings.artifact_root.url


def test_an_artifact_root_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    settings = settings_in(tmp_path, artifacts=str(tmp_path / "file"))
    store_in(settings).close()

    with pytest.raises(NotReady, match=r"IPLAB_ARTIFACTS: cannot create the folder .*/file: File exists"):
        open_service(settings, write=True)


def test_an_artifact_root_without_write_permission_is_named(tmp_path):
    # Even root can create no files there.
    settings = settings_in(tmp_path, artifacts="/proc/self")
    store_in(settings).close()

    with pytest.raises(NotReady, match=r"IPLAB_ARTIFACTS: the folder /proc/\d+ cannot be written"):
        open_service(settings, write=True)
    with pytest.raises(NotReady, match=r"has no \.iplab-store yet, .* a dispatcher writes it at its first"):
        open_service(settings, write=False)


def test_a_wrong_bucket_is_named(s3, tmp_path):
    settings = settings_in(
        tmp_path,
        artifacts="s3://nobodys-bucket/lab",
        s3_endpoint_url=s3.endpoint,
        s3_access_key_id=KEY,
        s3_secret_access_key=SECRET,
    )
    with store_in(settings) as store:
        with pytest.raises(ArtifactsUnavailable, match="there is no bucket 'nobodys-bucket'"):
            settle_artifacts(store, settings, write=False)
        assert store.identity().artifact_root == ""
    with pytest.raises(
        NotReady, match=r"IPLAB_ARTIFACTS: .*no bucket 'nobodys-bucket'.*IPLAB_S3_ENDPOINT_URL"
    ):
        open_service(settings, write=False)


def test_an_s3_out_of_reach_is_named(s3, tmp_path, nowhere):
    settings = settings_in(
        tmp_path,
        artifacts=s3.root().url,
        s3_endpoint_url=f"http://{nowhere}",
        s3_access_key_id=KEY,
        s3_secret_access_key=SECRET,
    )
    store_in(settings).close()

    with pytest.raises(NotReady, match=rf"IPLAB_ARTIFACTS: s3://.* at http://{nowhere}: .*Could not connect"):
        open_service(settings, write=False)


# MLflow.


def test_an_mlflow_out_of_reach_is_named(tmp_path, nowhere):
    with pytest.raises(
        NotReady, match=rf"IPLAB_MLFLOW_TRACKING_URI: nothing answers at {nowhere}: Connection"
    ):
        connect(settings_in(tmp_path, mlflow_tracking_uri=f"http://{nowhere}"))


def test_what_is_not_mlflow_is_named(tmp_path, s3):
    with pytest.raises(NotReady, match=rf"IPLAB_MLFLOW_TRACKING_URI: {s3.endpoint} cannot be used as MLflow"):
        connect(settings_in(tmp_path, mlflow_tracking_uri=s3.endpoint))


def test_a_database_of_mlflow_that_is_silent_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("ipserver.forward.connect._CONNECT_SECONDS", 2)  # the driver's minimum
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"postgresql+psycopg://lab:hidden@127.0.0.1:{silent.getsockname()[1]}/mlflow"
        with pytest.raises(NotReady, match="timeout expired"):
            connect(settings_in(tmp_path, mlflow_tracking_uri=uri))


def test_a_database_of_mlflow_out_of_reach_is_named_without_its_password(tmp_path, nowhere):
    uri = f"postgresql+psycopg://lab:hidden@{nowhere}/mlflow"

    with pytest.raises(NotReady, match=r"IPLAB_MLFLOW_TRACKING_URI: .*lab:\*\*\*@.*cannot be used") as caught:
        connect(settings_in(tmp_path, mlflow_tracking_uri=uri))
    assert "hidden" not in str(caught.value)


# Parts as processes.


def start(*words, log, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")}
    command = [sys.executable, "-m", "ipserver", *words]
    return subprocess.Popen(command, env=clean | environment, stdout=log, stderr=log)


@pytest.mark.parametrize("part", ["api", "dispatch", "migrate", "up"])
def test_every_part_ends_with_a_message_and_a_status(part, tmp_path, nowhere):
    """In this process; the forwarder, which lowers its priority, is a process of its own below."""
    done = CliRunner().invoke(main, [part], env=with_a_store_that_does_not_answer(tmp_path, nowhere))

    assert done.exit_code == 2
    says_what_is_wrong_with_the_store(done.output)


def test_a_forwarder_ends_with_a_message_and_a_status(tmp_path, nowhere):
    with (tmp_path / "log").open("ab") as log:
        process = start("forward", log=log, **with_a_store_that_does_not_answer(tmp_path, nowhere))
        assert process.wait(120) == 2

    says_what_is_wrong_with_the_store((tmp_path / "log").read_text())


def with_a_store_that_does_not_answer(home, nowhere):
    return {
        "IPLAB_HOME": str(home),
        "IPLAB_ADDRESS": "127.0.0.1:0",
        "IPLAB_STORE": f"postgresql+psycopg://lab:hidden@{nowhere}/iplab",
    }


def says_what_is_wrong_with_the_store(told):
    assert "ipserver: IPLAB_STORE: the store postgresql+psycopg://lab:***@" in told
    assert "Traceback" not in told
    assert "hidden" not in told


def test_a_supervised_forwarder_waits_for_mlflow_until_its_supervisor_ends(tmp_path, nowhere):
    store_in(settings_in(tmp_path)).close()
    told = tmp_path / "log"
    supervisor, ours = os.pipe()
    with told.open("ab") as log:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")}
        variables = {"IPLAB_MLFLOW_TRACKING_URI": f"http://{nowhere}", "IPLAB_SUPERVISED": "1"}
        command = [sys.executable, "-m", "ipserver", "forward", "--home", str(tmp_path)]
        process = subprocess.Popen(command, env=clean | variables, stdin=supervisor, stdout=log, stderr=log)
    os.close(supervisor)
    try:
        deadline = time.monotonic() + 120
        while told.read_text().count("not ready, tried until it is") < 2:
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.close(ours)
        assert process.wait(120) == 0


def test_a_missing_secret_file_ends_a_part(tmp_path):
    done = CliRunner().invoke(main, ["api"], env={"IPLAB_SECRETS": str(tmp_path / "secrets")})

    assert done.exit_code == 2
    assert f"ipserver: IPLAB_SECRETS: cannot read the folder {tmp_path}/secrets" in done.output


def test_a_part_waits_for_its_tables(tmp_path):
    told = tmp_path / "log"

    def wait_until_told(text):
        deadline = time.monotonic() + 120
        while text not in told.read_text():
            assert api.poll() is None, told.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with told.open("ab") as log:
        words = ["api", "--home", str(tmp_path), "--address", "127.0.0.1:0"]
        api = start(*words, log=log, IPLAB_WAIT_SECONDS="60")
        try:
            wait_until_told("has no tables yet")
            migrate(settings_in(tmp_path).store_dsn)
            wait_until_told("listening on port")
        finally:
            api.terminate()
            assert api.wait(120) == 0


def test_a_ray_of_its_own_is_not_told_to_expect_nodes(tmp_path):
    settings = settings_in(tmp_path / "home", expected_nodes='[{"cpus": 8}]')

    with pytest.raises(
        StartupError, match=r"IPLAB_EXPECTED_NODES: the dispatcher's own Ray.*IPLAB_RAY_ADDRESS"
    ):
        run_dispatch(settings)
    assert not settings.home.exists()


# Kills during the set-up of a home.

SET_UP = """
import os, random, signal, sys, time
from pathlib import Path
from ipserver.ops.places import make_folder
from ipserver.ops.startup import migrate_store, open_service, prepare_home
from ipserver.ops.up import _announce
from tests.ipserver.support import settings_in

def set_up(home):
    settings = settings_in(home)
    prepare_home(settings)
    make_folder(settings.home / "logs")
    migrate_store(settings)
    open_service(settings, write=True).close()
    _announce(settings, [])

def child(home):
    pid = os.fork()
    if pid == 0:
        set_up(home)
        os._exit(0)
    return pid

root, kills = Path(sys.argv[1]), int(sys.argv[2])
begin = time.monotonic()
assert os.waitpid(child(root / "first"), 0)[1] == 0
whole = time.monotonic() - begin
random.seed(14)
met, in_time, number = set(), 0, 0
while number < kills or (number < 6 * kills and (in_time < kills / 2 or len(met) <= 3)):
    home = root / str(number)
    pid = child(home)
    time.sleep(random.uniform(0, whole))
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    whole *= 1.1 if status else 0.6  # the machine may be busier at one time than at another
    left = sorted(str(file.relative_to(home)) for file in home.rglob("*")) if home.exists() else []
    assert os.waitpid(child(home), 0)[1] == 0, left
    print("in time" if status else "too late", left)
    met.add(tuple(left))
    in_time += bool(status)
    number += 1
"""


def test_a_kill_at_any_moment_of_the_set_up_leaves_a_home_that_can_be_used(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SET_UP, str(tmp_path), "10"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert len(told) >= 10
    assert sum(line.startswith("in time") for line in told) >= 5
    assert len(set(told)) > 3, "they were killed at different steps"


def test_a_data_folder_that_is_not_there_ends_it(tmp_path):
    settings = settings_in(tmp_path, data=str(tmp_path / "absent"))
    with pytest.raises(
        NotReady, match=r"IPLAB_DATA: the folder .*/absent does not exist; name another .--data"
    ):
        check_data(settings)
    (tmp_path / "absent").touch()
    with pytest.raises(NotReady, match="is not a folder"):
        check_data(settings)
    check_data(settings_in(tmp_path, data=str(tmp_path)))
    check_data(settings_in(tmp_path))
    done = CliRunner().invoke(main, ["up", "--home", str(tmp_path / "home"), "--data", "/nowhere/at/all"])
    assert done.exit_code == 2
    assert "the folder /nowhere/at/all does not exist" in done.output

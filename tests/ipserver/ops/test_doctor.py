"""`ipserver doctor` finds real problems, says what to do, and changes nothing."""

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
from click.testing import CliRunner

from ipserver.artifacts.local import LocalArtifacts
from ipserver.cli import main
from ipserver.ops import up
from ipserver.ops.doctor import Level, examine, stored
from ipserver.ops.running import announce, running_service
from ipserver.ops.startup import PARTS, open_service
from ipserver.store import migrate, open_store
from ipserver.store.records.cluster import CapacityReport
from tests.ipserver.s3 import KEY, SECRET
from tests.ipserver.studies.cases import ask
from tests.ipserver.support import settings_in, small_spec, store_in, submit

POSTGRES = os.environ.get("IPLAB_TEST_POSTGRES", "")
CHECKS = [
    "settings",
    "variables",
    "space",
    "privacy",
    "tls",
    "store",
    "clock",
    "schema",
    "times",
    "writing",
    "artifacts",
    "ray",
    "studies",
    "data",
    "mlflow",
]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in os.environ:
        if name.startswith("IPLAB_") and not name.startswith("IPLAB_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path):
    """Settings of a service that has run once."""
    settings = settings_in(tmp_path / "home")
    store_in(settings).close()
    open_service(settings, write=True).close()
    return settings


def changed(settings, **changes):
    return settings_in(settings.home, **changes)


def made(checks):
    """The checks in their order. One finds something for each disk that the service uses."""
    return list(dict.fromkeys(checks))


def wrong(settings, clock=time.time):
    """Findings of level "wrong" by check."""
    return {f.check: f.text for f in examine(settings, clock) if f.level is Level.WRONG}


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "iplab.db" not in path.name}


def test_where_nothing_is_wrong_it_says_so_and_leaves_nothing(settings):
    before = files(settings.home)
    findings = list(examine(settings))

    assert made(f.check for f in findings) == CHECKS
    assert {f.check for f in findings if f.level is not Level.OK} == {"ray"}, "no dispatcher has worked here"
    assert files(settings.home).keys() == before.keys()
    done = CliRunner().invoke(main, ["doctor", "--home", str(settings.home)], catch_exceptions=False)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "nothing is wrong")


def test_json_for_machines(settings, nowhere):
    words = ["doctor", "--home", str(settings.home), "--json"]
    environment = {"IPLAB_MLFLOW_TRACKING_URI": f"http://{nowhere}"}
    done = CliRunner().invoke(main, words, env=environment, catch_exceptions=False)
    told = json.loads(done.stdout)

    assert (done.exit_code, told["wrong"]) == (1, 1)
    assert made(f["check"] for f in told["findings"]) == CHECKS
    assert told["findings"][-1]["level"] == "wrong"
    assert f"nothing answers at {nowhere}" in told["findings"][-1]["text"]


@pytest.mark.parametrize(
    ("part", "checks"),
    [
        ("api", CHECKS[:-4]),
        ("dispatch", CHECKS[:-1]),
        ("forward", [*CHECKS[:-4], "mlflow"]),
    ],
)
def test_a_part_is_asked_only_for_what_it_reaches(settings, part, checks):
    done = CliRunner().invoke(main, ["doctor", "--home", str(settings.home), "--for", part, "--json"])

    assert made(f["check"] for f in json.loads(done.stdout)["findings"]) == checks


def test_a_part_that_only_reads_artifacts_writes_none(settings):
    """A role or a mounted folder may allow only reading."""
    artifacts = settings.artifact_root.folder
    before = {path: path.stat().st_mtime_ns for path in [artifacts, *artifacts.rglob("*")]}
    found = {f.check: f for f in examine(settings, needs=PARTS["forward"])}

    assert found["artifacts"].level is Level.OK
    assert "it can be reached; it is this store's" in found["artifacts"].text
    assert {path: path.stat().st_mtime_ns for path in [artifacts, *artifacts.rglob("*")]} == before


def test_before_the_first_start_it_creates_nothing(tmp_path):
    settings = settings_in(tmp_path / "home")
    found = {f.check: f for f in examine(settings)}

    assert not settings.home.exists()
    assert found["store"].level is Level.WRONG
    assert f"there is no {tmp_path}/home/iplab.db; `ipserver up`" in found["store"].text
    skipped = {"clock", "schema", "times", "writing", "artifacts", "ray", "studies"}
    assert {name for name, f in found.items() if f.level is Level.SKIPPED} == skipped


def noted(settings):
    return [f.text for f in examine(settings) if f.check == "variables" and f.level is Level.NOTE]


def test_variables_of_other_programs_are_named_where_they_count(settings, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert noted(settings) == []
    monkeypatch.setenv("http_proxy", "http://name:hidden@192.0.2.7:3128")
    monkeypatch.setenv("AWS_PROFILE", "other")
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.8:6379")
    assert noted(settings) == ["RAY_ADDRESS is not used (IPLAB_RAY_ADDRESS names a cluster to join)"]

    away = changed(settings, mlflow_tracking_uri="http://192.0.2.9:5000", ray_address="192.0.2.8:6379")
    (told,) = noted(away)
    assert "http_proxy sends requests to IPLAB_MLFLOW_TRACKING_URI through the proxy 192.0.2.7:3128" in told
    monkeypatch.setenv("no_proxy", "192.0.2.9")
    assert noted(away) == []


def test_times_from_the_future_are_noticed(settings):
    with open_store(settings.store_dsn, clock=lambda: time.time() + 3600) as store:
        submit(store, small_spec())
        assert store.lease_unplanned("ahead", 15.0) is not None
    found = {f.check: f for f in examine(settings)}

    assert found["times"].level is Level.NOTE
    ahead = int(found["times"].text.split("times up to ")[1].split()[0])
    assert 3590 <= ahead <= 3600
    assert "it was ahead then, or is behind now" in found["times"].text


# The store.


def test_a_database_out_of_reach(settings, nowhere):
    found = wrong(changed(settings, store=f"postgresql+psycopg://lab:hidden@{nowhere}/iplab"))

    assert found.keys() == {"store"}
    assert found["store"].startswith("IPLAB_STORE: the store postgresql+psycopg://lab:***@")
    assert "hidden" not in found["store"]


def test_a_dsn_that_is_none(settings):
    assert (
        "IPLAB_STORE: the DSN starts with 'mysql'"
        in wrong(changed(settings, store="mysql://a:b@c/d"))["store"]
    )


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason="IPLAB_TEST_POSTGRES is not set")
def test_a_postgresql_that_is_wrong_or_right(tmp_path):
    import sqlalchemy as sa

    url = sa.make_url(POSTGRES)
    name = f"doctor_{os.getpid()}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    dsn = url.set(database=name).render_as_string(hide_password=False)
    settings = settings_in(tmp_path, store=dsn)
    assert f'database "{name}" does not exist' in wrong(settings)["store"]
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            assert "has no tables yet" in wrong(settings)["schema"]
            migrate(dsn)
            assert wrong(settings) == {}
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            found = wrong(settings)
            assert found.keys() == {"writing"}
            assert "read-only transaction" in found["writing"]
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


def test_an_older_and_a_newer_schema(tmp_path):
    settings = settings_in(tmp_path)
    settings.home.mkdir(exist_ok=True)
    migrate(settings.store_dsn, to="0001")
    assert "has the older schema 0001" in wrong(settings)["schema"]
    assert "run ipserver migrate" in wrong(settings)["schema"]

    with open_store(settings.store_dsn) as store, store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    found = {f.check: f for f in examine(settings)}
    assert "newer than this code; update iplab" in found["schema"].text
    assert found["artifacts"].level is Level.SKIPPED


@pytest.mark.parametrize("part", ["index", "header"])
def test_a_damaged_database(settings, part):
    with open_store(settings.store_dsn) as store:
        submit(store, small_spec(grid={"seeds": list(range(300))}))
    with closing(sqlite3.connect(settings.home / "iplab.db")) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_runs_pack'"
        ((root,),) = connection.execute(query)
    with (settings.home / "iplab.db").open("r+b") as file:
        # Damage a page of an index after its header, which only a check of the whole file finds.
        file.seek((root - 1) * 4096 + 100 if part == "index" else 0)
        file.write(b"\xff" * 3996)

    found = wrong(settings)
    assert found.keys() == {"store"}
    assert ("malformed" if part == "index" else "file is not a database") in found["store"]
    assert "restore a backup (docs/operations.md)" in found["store"]


WITHOUT_POWERS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def powerless(*command):
    """Run a command without root's capabilities."""
    first = WITHOUT_POWERS if os.getuid() == 0 else []
    return subprocess.run([*first, *command], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.skipif(
    os.getuid() == 0 and not shutil.which("setpriv"), reason="root, and no setpriv to be less than that"
)
def test_folders_without_write_permission(settings):
    (settings.home / "mlflow").mkdir(exist_ok=True)
    (settings.home / "mlflow" / "mlflow.db").touch()
    folders = [settings.home, settings.home / "artifacts", settings.home / "mlflow"]
    (settings.home / "iplab.db").chmod(0o400)
    for folder in folders:
        folder.chmod(0o500)
    try:
        done = powerless(sys.executable, "-m", "ipserver", "doctor", "--home", str(settings.home), "--json")
    finally:
        for folder in folders:
            folder.chmod(0o700)
        (settings.home / "iplab.db").chmod(0o600)

    told = {f["check"]: f["text"] for f in json.loads(done.stdout)["findings"] if f["level"] == "wrong"}
    assert done.returncode == 1
    assert "IPLAB_STORE" in told["store"]
    assert f"the folder {settings.home}/mlflow is not writable" in told["mlflow"]


# Files of the home.


def test_artifacts_of_another_store(settings, tmp_path):
    other = settings_in(tmp_path / "other", artifacts=str(settings.home / "artifacts"))
    store_in(other).close()

    assert "belongs to another store" in wrong(other)["artifacts"]


def test_doctors_that_examine_at_once_do_not_remove_the_files_of_each_other(settings, monkeypatch):
    """The second one makes all its checks of the artifacts while the first one reads its file back."""
    open_service(settings, write=True).close()
    reading, levels = LocalArtifacts.reading, []

    def reading_late(files, location, sha256):
        monkeypatch.setattr(LocalArtifacts, "reading", reading)
        levels.extend(level for level, _ in stored.artifacts(settings, write=True))
        return reading(files, location, sha256)

    monkeypatch.setattr(LocalArtifacts, "reading", reading_late)
    levels.extend(level for level, _ in stored.artifacts(settings, write=True))
    assert levels == [Level.OK, Level.OK]
    assert [path.name for path in settings.artifact_root.folder.iterdir()] == [".iplab-store"]


def test_artifacts_that_cannot_be_written(settings, tmp_path):
    other = settings_in(tmp_path / "other", artifacts="/proc/self")
    store_in(other).close()

    assert "IPLAB_ARTIFACTS: the folder /proc/" in wrong(other)["artifacts"]


def test_artifacts_that_are_gone(settings):
    shutil.rmtree(settings.home / "artifacts")

    assert "IPLAB_ARTIFACTS" in wrong(settings)["artifacts"]
    assert not (settings.home / "artifacts").exists()


def test_artifacts_in_s3(s3, tmp_path, nowhere):
    root = s3.root()
    keys = {"s3_endpoint_url": s3.endpoint, "s3_access_key_id": KEY, "s3_secret_access_key": SECRET}
    settings = settings_in(tmp_path, artifacts=root.url, **keys)
    store_in(settings).close()

    assert wrong(settings) == {}
    assert s3.keys(root) == []
    no_bucket = wrong(settings_in(tmp_path, artifacts="s3://nobodys-bucket/lab", **keys))["artifacts"]
    assert "there is no bucket 'nobodys-bucket'" in no_bucket
    away = wrong(settings_in(tmp_path, artifacts=root.url, **keys | {"s3_endpoint_url": f"http://{nowhere}"}))
    assert "Could not connect" in away["artifacts"]
    assert SECRET not in str((no_bucket, away))


def test_no_mlflow(settings, nowhere):
    assert wrong(changed(settings, mlflow_tracking_uri=f"http://{nowhere}")).keys() == {"mlflow"}


def test_an_mlflow_database_that_is_none(settings):
    (settings.home / "mlflow").mkdir(exist_ok=True)
    (settings.home / "mlflow" / "mlflow.db").write_bytes(b"no database" * 1000)

    assert "file is not a database" in wrong(settings)["mlflow"]


def test_studies_that_nobody_drives(settings):
    with open_store(settings.store_dsn, clock=lambda: time.time() - 100) as store:
        ask(store)
    (finding,) = (f for f in examine(settings) if f.check == "studies")
    assert finding.level is Level.NOTE
    assert finding.text.startswith("no dispatcher has driven s for 60 s")


def test_a_thread_of_studies_that_hangs(settings):
    alive = settings.home / "studies.alive"
    alive.touch()
    os.utime(alive, (time.time() - 1000,) * 2)
    assert "studies" not in wrong(settings), "nothing runs here"
    with up._only_one(settings):
        announce(settings, {})
        assert wrong(settings)["studies"].startswith(
            "the dispatcher here has shown no work on studies for 100"
        )
        alive.touch()
        assert "studies" not in wrong(settings)


def test_no_ray(settings, nowhere):
    (found,) = wrong(changed(settings, ray_address=nowhere)).items()

    assert found[0] == "ray"
    assert f"IPLAB_RAY_ADDRESS: nothing answers at {nowhere}: Connection refused" in found[1]


def test_a_dispatcher_that_reports_and_one_that_has_stopped(settings):
    report = CapacityReport({"cpus": 2.0}, ())

    def ray():
        (finding,) = (f for f in examine(settings) if f.check == "ray")
        return finding.level, finding.text

    with open_store(settings.store_dsn) as store:
        store.save_capacity(report)
    level, text = ray()
    assert (level, text.rpartition(" cpus ")[0]) == (Level.OK, "a dispatcher reported 2")
    with open_store(settings.store_dsn, clock=lambda: time.time() - 3600) as store:
        store.save_capacity(report)
    level, text = ray()
    assert (level, text.partition(",")[0]) == (Level.NOTE, "a dispatcher reported 2 cpus 3600 s ago")


def test_the_settings_are_those_of_the_service_that_runs(settings, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    theirs = changed(settings, data=str(data), cpus=3)
    assert running_service(settings) is None
    announce(theirs, {"api": 1})
    assert running_service(settings) is None, "what a service left that was killed says nothing"
    with (settings.home / "up.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        gone = changed(settings, data=str(tmp_path / "absent"))
        found = list(examine(gone))
        service = running_service(gone)
        assert service.settings.data == data
        assert service.settings.cpus == 3
        assert service.settings.store == settings.store, "secrets are not written down"
    said = [finding.text for finding in found if finding.check == "service"]
    assert "checked with the settings of the service that runs" in said[0]
    assert f"IPLAB_DATA is {data} there and {tmp_path / 'absent'} here" in said
    assert not any("IPLAB_CPUS" in text for text in said), "nobody has said another number here"
    assert not [finding for finding in found if finding.level is Level.WRONG]
    assert (settings.home / "service.json").stat().st_mode & 0o77 == 0


def test_data_that_is_not_there_or_damaged(settings, tmp_path):
    data = tmp_path / "data"
    assert f"the folder {data} does not exist" in wrong(changed(settings, data=str(data)))["data"]

    (data / "registered").mkdir(parents=True)
    inputs, labels = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])
    good = data / "registered" / "good.npz"
    np.savez(good, train_inputs=inputs, train_labels=labels, test_inputs=inputs, test_labels=labels)
    assert wrong(changed(settings, data=str(data))) == {}

    (data / "registered" / "torn.npz").write_bytes(good.read_bytes()[:100])
    found = wrong(changed(settings, data=str(data)))
    assert found.keys() == {"data"}
    assert f"{data}/registered/torn.npz is damaged" in found["data"]


# The machine.


@pytest.mark.parametrize(("ahead", "words"), [(100, "100 s ahead of"), (-7200, "7200 s behind")])
def test_a_clock_that_is_wrong(settings, ahead, words):
    found = wrong(settings, clock=lambda: time.time() + ahead)

    assert found.keys() == {"clock"}
    assert f"this machine's clock is {words} the store's; set both by NTP" in found["clock"]


def _may_mount():
    return os.getuid() == 0 and not subprocess.run(["unshare", "-m", "true"], check=False).returncode


@pytest.mark.skipif(not _may_mount(), reason="only root can mount a small file system")
def test_a_disk_that_is_nearly_full(settings):
    script = f"mount -t tmpfs -o size=16m none {settings.home}/artifacts && exec $0 -m ipserver doctor --json"
    command = ["unshare", "-m", "sh", "-c", script, sys.executable]
    environment = os.environ | {"IPLAB_HOME": str(settings.home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    told = {f["check"]: f["text"] for f in json.loads(done.stdout)["findings"] if f["level"] == "wrong"}
    assert f"IPLAB_ARTIFACTS: 16 MiB free at {settings.home}/artifacts; free space" in told["space"]


def test_a_variable_that_no_setting_is_called(settings, monkeypatch):
    monkeypatch.setenv("IPLAB_STOER", "x")
    (finding,) = (f for f in examine(settings) if f.check == "settings")

    assert finding.level is Level.NOTE
    assert finding.text == "IPLAB_STOER is not used: there is no such setting; did you mean IPLAB_STORE?"

"""Checks of a part before it starts: messages and waiting if a needed service is missing or wrong."""

import os
import socket

import pytest
import sqlalchemy as sa

from ipserver.errors import ArtifactsUnavailable, NotReady, StartupError
from ipserver.forward.connect import connect
from ipserver.ops.ownership import settle_artifacts
from ipserver.ops.startup import migrate_store, open_service, waiting
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


# Artifacts.


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

"""Artifacts belong to one store: parts with another store or other artifacts are refused."""

import re

import pytest

from ipserver.artifacts import open_artifacts
from ipserver.errors import NotReady, StartupError
from ipserver.ops.ownership import MARK
from ipserver.ops.startup import migrate_store, open_service, prepare_home
from ipserver.store import Store, migrate, open_store
from tests.ipserver.s3 import KEY, SECRET
from tests.ipserver.support import settings_in, store_in


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

"""A backup of a home is a home with every file that its store names, whatever happens meanwhile."""

import hashlib
import os
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from ipserver.artifacts import open_artifacts
from ipserver.cli import main
from ipserver.errors import StartupError
from ipserver.ops import backup as module
from ipserver.ops.backup import backup
from ipserver.ops.startup import open_service
from ipserver.store.records.files import CheckpointRecord, NewArtifact
from tests.ipserver.s3 import KEY, SECRET
from tests.ipserver.store.cases import a_slice, lease, planned
from tests.ipserver.support import settings_in, store_in


class Service:
    """A pack of one run that repeatedly commits a slice with weights and a checkpoint."""

    def __init__(self, settings):
        self.settings = settings
        store_in(settings).close()
        self.store = open_service(settings, write=True)
        self.files = open_artifacts(settings.artifact_root)
        planned(self.store, [[0]], steps=100)
        self.pack = lease(self.store)
        self.step = 0

    def commit(self):
        self.step += 1
        weights, checkpoint = (
            f"e/r00000/1/{self.step}.safetensors",
            f"e/checkpoints/p0/1/{self.step}.safetensors",
        )
        artifact = NewArtifact(0, f"weights/{self.step}", weights, *self.put(weights), self.step)
        named = CheckpointRecord(checkpoint, *self.put(checkpoint), self.step)
        done = a_slice(self.step, self.step, artifacts=(artifact,), checkpoint=named)
        self.store.commit_slice("e", "p0", self.pack.token, done)

    def put(self, location):
        stored = self.files.put(location, lambda path: path.write_bytes(location.encode() * 1000))
        return stored.size_bytes, stored.sha256

    def weights(self, step):
        return self.settings.artifact_root.folder / f"e/r00000/1/{step}.safetensors"


def test_a_new_file_with_the_inode_of_a_deleted_one_is_copied(tmp_path):
    links, source = {}, tmp_path / "source"
    for number in range(2):
        source.write_text(f"{number}")
        os.utime(source, ns=(0, 1_000_000 * number))
        module._copy(source, tmp_path / f"copy{number}", links)
    assert [(tmp_path / f"copy{number}").read_text() for number in range(2)] == ["0", "1"]


def test_a_file_of_several_names_is_copied_if_one_of_them_disappears(tmp_path, monkeypatch):
    ours, theirs, links = tmp_path / "ours", tmp_path / "theirs", {}
    ours.write_text("weights")
    theirs.hardlink_to(ours)
    copy = module.shutil.copy2

    def copy_late(source, target):
        ours.unlink(missing_ok=True)
        copy(source, target)

    monkeypatch.setattr(module.shutil, "copy2", copy_late)
    for source in (ours, theirs):
        module._copy(source, tmp_path / f"copy-{source.name}", links)
    assert not (tmp_path / "copy-ours").exists()
    assert (tmp_path / "copy-theirs").read_text() == "weights"


@pytest.fixture
def service(tmp_path):
    service = Service(settings_in(tmp_path / "home"))
    yield service
    service.store.close()


def read(home):
    """State of a service in this home: the run's steps, and every file that it names, with its checksum."""
    settings = settings_in(home)
    with open_service(settings, write=True) as store:
        named = store.named_files()
        for file in named:
            data = (home / "artifacts" / file.location).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file.sha256
        return store.list_runs("e", limit=10)[0].committed_steps, sorted(file.location for file in named)


def test_what_cannot_be_read_is_not_left_out(service, tmp_path, monkeypatch):
    service.commit()
    closed, scandir = service.settings.artifact_root.folder / "e", os.scandir

    def read_folder(path):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", read_folder)
    with pytest.raises(StartupError, match=rf"was removed: .*Permission denied: '{closed}'; check the disk"):
        backup(service.settings, tmp_path / "copy")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_backup_is_a_home(service, tmp_path):
    for _ in range(3):
        service.commit()

    made = backup(service.settings, tmp_path / "copy")
    service.commit()  # does not change the backup

    steps, named = read(tmp_path / "copy")
    assert steps == 3
    assert len(named) == made.files
    assert [name for name in named if "r00000" in name] == [f"e/r00000/1/{n}.safetensors" for n in (1, 2, 3)]
    assert (made.passed, made.missing, made.elsewhere) == (0, (), "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "home"]


def test_what_is_committed_while_it_is_made_is_in_it(service, tmp_path, monkeypatch):
    service.commit()
    copy_database = module._copy_database

    def late(source, target):
        service.commit()  # after the files are copied, before the store is
        copy_database(source, target)
        service.commit()  # after the store is copied

    monkeypatch.setattr(module, "_copy_database", late)
    made = backup(service.settings, tmp_path / "copy")

    steps, named = read(tmp_path / "copy")
    assert steps == 2
    assert "e/r00000/1/2.safetensors" in named
    assert (made.passed, made.missing) == (0, ())


def test_a_checkpoint_that_goes_meanwhile_is_told(service, tmp_path, monkeypatch):
    copy_database = module._copy_database

    def late(source, target):
        service.commit()
        copy_database(source, target)
        service.files.delete(["e/checkpoints/p0/1/1.safetensors"])  # as after the next slices

    monkeypatch.setattr(module, "_copy_database", late)
    made = backup(service.settings, tmp_path / "copy")

    assert (made.files, made.passed, made.missing) == (1, 1, ())


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"other")])
def test_weights_that_are_gone_or_damaged_are_told(service, tmp_path, damage):
    service.commit()
    service.commit()
    damage(service.weights(2))

    words = ["backup", str(tmp_path / "copy"), "--home", str(service.settings.home)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)

    assert done.exit_code == 1
    assert f"missing or damaged in {service.settings.artifact_root}: e/r00000/1/2.safetensors" in done.stderr
    assert (tmp_path / "copy" / "artifacts" / "e/r00000/1/1.safetensors").exists()


def test_mlflow_comes_along_and_shares_its_files(service, tmp_path):
    service.commit()
    artifacts = service.settings.home / "mlflow" / "artifacts"
    artifacts.mkdir(parents=True)
    os.link(service.weights(1), artifacts / "weights")
    with closing(sqlite3.connect(service.settings.home / "mlflow" / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE runs (id)")

    made = backup(service.settings, tmp_path / "copy")

    copied = tmp_path / "copy" / "mlflow" / "artifacts" / "weights"
    assert copied.samefile(tmp_path / "copy" / "artifacts" / "e/r00000/1/1.safetensors")
    with closing(sqlite3.connect(tmp_path / "copy" / "mlflow" / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    assert made.size_bytes < 2 * sum(
        path.stat().st_size for path in (tmp_path / "copy").rglob("*.db") if path.is_file()
    ), "files with two names are counted once"


def test_artifacts_in_another_folder_come_into_the_home(tmp_path):
    service = Service(settings_in(tmp_path / "home", artifacts=str(tmp_path / "elsewhere")))
    service.commit()

    backup(service.settings, tmp_path / "copy")
    service.store.close()

    assert read(tmp_path / "copy")[0] == 1


def test_artifacts_in_s3_stay_there(s3, tmp_path):
    root = s3.root()
    keys = {"s3_endpoint_url": s3.endpoint, "s3_access_key_id": KEY, "s3_secret_access_key": SECRET}
    settings = settings_in(tmp_path / "home", artifacts=root.url, **keys)
    store_in(settings).close()

    made = backup(settings, tmp_path / "copy")

    assert (made.files, made.elsewhere) == (0, root.url)
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["iplab.db"]


# Refusals, which leave nothing behind.


def test_a_store_on_postgresql_is_for_pg_dump(tmp_path):
    settings = settings_in(tmp_path / "home", store="postgresql+psycopg://a:hidden@db/iplab")

    with pytest.raises(StartupError, match=r"backed up by pg_dump \(docs/operations.md") as caught:
        backup(settings, tmp_path / "copy")
    assert "hidden" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_home_without_a_store(tmp_path):
    with pytest.raises(StartupError, match=rf"there is no {tmp_path}/home/iplab.db.*check IPLAB_HOME"):
        backup(settings_in(tmp_path / "home"), tmp_path / "copy")


@pytest.mark.parametrize(
    ("destination", "message"),
    [("home", "exists already"), ("no/folder", "No such file"), ("file/below", "Not a directory")],
)
def test_a_destination_that_cannot_be(service, tmp_path, destination, message):
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(StartupError, match=message):
        backup(service.settings, tmp_path / destination)
    assert {path for path in tmp_path.rglob("*") if not path.name.startswith("iplab.db")} == {
        path for path in before if not path.name.startswith("iplab.db")
    }


def test_a_damaged_store_is_not_backed_up(service, tmp_path):
    service.store.close()
    with closing(sqlite3.connect(service.settings.home / "iplab.db")) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("UPDATE packs SET experiment = 'nobodys'")
        connection.commit()

    with pytest.raises(StartupError, match=r"iplab\.db is damaged: a row of packs refers to a missing row"):
        backup(service.settings, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()

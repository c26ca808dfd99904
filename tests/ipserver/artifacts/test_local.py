"""Behaviour of folders only."""

import os
from pathlib import Path

import pytest

from ipserver.artifacts import open_artifacts
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.errors import ArtifactDamaged, ArtifactsUnavailable


@pytest.fixture
def files(tmp_path):
    return open_artifacts(ArtifactRoot(str(tmp_path)))


@pytest.fixture
def happened(tmp_path, monkeypatch):
    """Flushes and renames in order; temporary names are shown as "*"."""
    happened = []
    fsync, replace = os.fsync, Path.replace

    def shown(path):
        name = str(Path(path).relative_to(tmp_path))
        return name if not Path(name).name.startswith(".") else f"{Path(name).parent}/*"

    def note_flush(descriptor):
        happened.append(f"flush {shown(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        fsync(descriptor)

    def note_rename(path, to):
        happened.append(f"rename {shown(path)} to {shown(to)}")
        return replace(path, to)

    monkeypatch.setattr(os, "fsync", note_flush)
    monkeypatch.setattr(Path, "replace", note_rename)
    return happened


def test_a_file_and_its_new_folders_are_flushed_before_it_counts(files, happened):
    files.put("e/f/file", lambda path: path.write_text("x"))
    files.put("e/f/next", lambda path: path.write_text("x"))

    assert happened == [
        "flush .",  # which holds e
        "flush e",  # which holds f
        "flush e/f/*",
        "rename e/f/* to e/f/file",
        "flush e/f",
        "flush e/f/*",
        "rename e/f/* to e/f/next",
        "flush e/f",
    ]


def test_a_write_that_fails_leaves_nothing_beside(files, tmp_path):
    def half(path):
        path.write_text("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        files.put("e/file", half)

    assert list((tmp_path / "e").iterdir()) == []


def test_what_is_read_is_the_file_itself(files, tmp_path):
    stored = files.put("e/file", lambda path: path.write_text("x"))

    with files.reading("e/file", stored.sha256) as path:
        assert path == tmp_path / "e" / "file"
    assert path.exists()


def test_a_link_out_of_the_root_is_refused(files, tmp_path):
    (tmp_path / "e").symlink_to("/etc")

    with pytest.raises(ArtifactDamaged, match="outside"):
        files.size("e/passwd")


def test_a_root_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ArtifactsUnavailable, match="file is not a folder"):
        open_artifacts(ArtifactRoot(str(tmp_path / "file"))).check(write=False)


def test_a_root_that_cannot_be_written():
    # Even root can create nothing there.
    root = ArtifactRoot("/proc/self")

    open_artifacts(root).check(write=False)
    with pytest.raises(ArtifactsUnavailable, match=r"the folder /proc/self cannot be written: "):
        open_artifacts(root).check(write=True)


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(files, tmp_path):
    """Otherwise the rows of a purged experiment would be removed while its files remain."""
    (tmp_path / "e").write_text("")
    with pytest.raises(NotADirectoryError):
        list(files.below("e"))

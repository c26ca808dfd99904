"""Temporary folders for files in transfer; their removal is also tested in test_private_folder.py."""

import tempfile

import pytest

from ipserver.artifacts import scratch
from ipserver.artifacts.scratch import scratch_folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_ends_with_its_use(place):
    with scratch_folder() as folder:
        assert folder.parent == place
        (folder / "file").write_text("x")

    assert list(place.iterdir()) == []


def test_the_first_use_removes_what_killed_processes_left_and_later_ones_do_not_look(place):
    (place / f"{scratch._PREFIX}abandoned").mkdir()

    with scratch_folder() as folder:
        assert list(place.iterdir()) == [folder]
        (place / f"{scratch._PREFIX}later").mkdir()
    with scratch_folder():
        assert (place / f"{scratch._PREFIX}later").exists()

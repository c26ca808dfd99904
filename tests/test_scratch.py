"""Tests write into memory only where it has room."""

import shutil

from tests import scratch


def test_memory_is_used_where_it_has_room(monkeypatch, tmp_path):
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(scratch, "FOLDER", tmp_path)
    monkeypatch.setattr(scratch, "ROOM_BYTES", free // 2)
    assert scratch.folder() == tmp_path
    monkeypatch.setattr(scratch, "ROOM_BYTES", 2 * free)
    assert scratch.folder() is None
    monkeypatch.setattr(scratch, "FOLDER", tmp_path / "nowhere")
    assert scratch.folder() is None

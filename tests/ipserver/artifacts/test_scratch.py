"""Temporary folders, and those of processes that were killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ipserver.artifacts.scratch import remove_abandoned, scratch_folder

_HOLDER = """
import time
from ipserver.artifacts.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "half").write_text("half a file")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_ends_with_its_use(place):
    with scratch_folder() as folder:
        assert folder.parent == place
        (folder / "file").write_text("x")

    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(place):
    (place / "others").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER], stdout=subprocess.PIPE, env=os.environ | {"TMPDIR": str(place)}
    )
    try:
        left = holder.stdout.readline().decode().strip()
        with scratch_folder() as mine:
            assert remove_abandoned(0) == 0
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            assert remove_abandoned() == 0  # too young: it may be about to be locked
            assert remove_abandoned(0) == 1
            assert sorted(place.iterdir()) == sorted([mine, place / "others"])
            assert not Path(left).exists()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()

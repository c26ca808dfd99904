"""Private folders, including those of killed processes."""

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from ipserver.environment.private_folder import PrivateFolder, remove_abandoned

_HOLDER = """
import sys, time
from pathlib import Path
from ipserver.environment.private_folder import PrivateFolder
folder = PrivateFolder(Path(sys.argv[1]), "own-")
(folder.path / "half").write_text("half a file")
print(folder.path, flush=True)
time.sleep(60)
"""


def test_it_is_for_its_owner_alone_and_ends_with_its_use(tmp_path):
    with PrivateFolder(tmp_path, "own-") as path:
        assert path.parent == tmp_path
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "below").mkdir()
        (path / "below" / "file").write_text("x")

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "own-file").write_text("a file of that name")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    (tmp_path / "own-link").symlink_to(elsewhere)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        left = tmp_path / holder.stdout.readline().strip()
        with PrivateFolder(tmp_path, "own-") as mine:
            assert remove_abandoned(tmp_path, "own-") == 0
            assert left.exists()
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            assert remove_abandoned(tmp_path, "own-") == 1
            kept = {mine.name, "others", "own-file", "own-link", "elsewhere"}
            assert {path.name for path in tmp_path.iterdir()} == kept
            assert (elsewhere / "precious").exists()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's folder")
def test_another_users_folder_stays(tmp_path):
    (tmp_path / "own-other").mkdir()
    os.chown(tmp_path / "own-other", 54321, 54321)

    assert remove_abandoned(tmp_path, "own-") == 0
    assert (tmp_path / "own-other").exists()


def test_one_that_is_being_made_is_never_taken_away(tmp_path):
    """Many are created while another thread removes abandoned ones."""
    stop = threading.Event()

    def tidy():
        while not stop.is_set():
            remove_abandoned(tmp_path, "own-")

    thread = threading.Thread(target=tidy)
    thread.start()
    try:
        made = [PrivateFolder(tmp_path, "own-") for _ in range(200)]
    finally:
        stop.set()
        thread.join()

    assert all(folder.path.is_dir() for folder in made)
    for folder in made:
        folder.remove()
        folder.remove()  # a second time is harmless
    assert list(tmp_path.iterdir()) == []


def test_a_cleaner_that_goes_by_age_finds_nothing_old(tmp_path):
    folder = PrivateFolder(tmp_path, "own-")
    (folder.path / "below").mkdir()
    (folder.path / "below" / "file").write_text("x")
    everything = [folder.path, folder.path / "below", folder.path / "below" / "file"]
    for item in everything:
        os.utime(item, (1, 1))

    folder.refresh()

    assert all(min(item.stat().st_atime, item.stat().st_mtime) > 1 for item in everything)
    folder.remove()


def test_where_nothing_can_be_made_there_is_an_error_and_nothing_left(tmp_path):
    with pytest.raises(FileNotFoundError):
        PrivateFolder(tmp_path / "missing", "own-")
    assert remove_abandoned(tmp_path / "missing", "own-") == 0

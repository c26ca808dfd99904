"""The sign of life of a part that nobody can call."""

import logging
import os

from ipserver.heartbeat import Heartbeat


def test_it_touches_a_file_every_few_seconds(tmp_path):
    now = [100.0]
    file = tmp_path / "home" / "dispatch.alive"
    beat = Heartbeat(file, monotonic=lambda: now[0])
    beat()
    os.utime(file, (0, 0))
    now[0] += 4
    beat()
    assert file.stat().st_mtime == 0, "not at every call"
    now[0] += 1
    beat()
    assert file.stat().st_mtime > 0


def test_where_it_cannot_work_goes_on(tmp_path, caplog):
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        Heartbeat(tmp_path / "file" / "dispatch.alive")()
    assert "no sign of life can be given" in caplog.text

"""A part as a child process: its log, its heartbeat and its end."""

from ipserver.ops import places, processes
from tests.ipserver.support import settings_in


def test_each_part_has_its_own_bound(start, monkeypatch):
    monkeypatch.setattr(processes, "_STOP_SECONDS", {"api": 60.0, "dispatch": 60.0, "forward": 0.2})
    dispatch, forward = start("dispatch", 1), start("forward", 600)

    processes.end([dispatch, forward])

    assert (dispatch.process.returncode, forward.process.returncode) == (0, -9)


def test_a_long_log_is_rotated_before_a_part_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "LOG_BYTES", 10)
    settings = settings_in(tmp_path, address="127.0.0.1:0", store="nonsense")
    log = places.log_file(settings, "api")
    log.parent.mkdir()
    older = log.with_name("api.log.1")
    older.write_text("older")
    log.write_text("x" * 10)

    places.rotate_log(log)
    assert (log.read_text(), older.read_text()) == ("x" * 10, "older")  # within the limit

    log.write_text("x" * 11)
    processes._start(settings, "api").communicate(timeout=120)
    assert older.read_text() == "x" * 11
    assert "DSN" in log.read_text()  # the part writes to the new log


def test_what_a_part_said_before_its_start_is_not_shown(start, tmp_path):
    settings = settings_in(tmp_path)
    log = places.log_file(settings, "api")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("of the last start\n")
    part = start("api", 0)
    part.logged = processes._logged(settings, "api")

    assert processes.log_tail(settings, part) == f"it has written nothing to {log}"
    with log.open("a") as file:
        file.write("no such file\n")
    assert processes.log_tail(settings, part) == f"the end of {log}:\nno such file"
    log.write_text("rotated\n")
    assert processes.log_tail(settings, part).endswith(":\nrotated")

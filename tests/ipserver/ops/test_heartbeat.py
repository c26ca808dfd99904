"""Heartbeats of parts that answer no requests."""

import logging
import os

from ipserver.ops.heartbeat import Heartbeat, Pulse, Pulses


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
    assert "the heartbeat file cannot be written" in caplog.text


def test_a_pulse_stops_when_nothing_has_moved_for_long(tmp_path):
    now = [100.0]
    file = tmp_path / "dispatch.alive"
    pulse = Pulse(file, 300, monotonic=lambda: now[0])
    now[0] += 300
    assert not pulse.stopped(), "there may be none yet"
    file.touch()
    assert not pulse.stopped()
    now[0] += 300
    assert not pulse.stopped()
    now[0] += 1
    assert pulse.stopped()
    os.utime(file, (0, 0))
    assert not pulse.stopped(), "whatever time it says: it moved"


def test_a_file_of_an_earlier_process_is_no_pulse(tmp_path):
    now = [100.0]
    file = tmp_path / "dispatch.alive"
    file.touch()
    pulse = Pulse(file, 300, monotonic=lambda: now[0])
    now[0] += 301
    assert pulse.stopped()


def test_a_process_hangs_if_one_of_its_threads_does(tmp_path):
    clock = [0.0]
    beats = {name: Heartbeat(tmp_path / name, lambda: clock[0]) for name in ("dispatch", "studies")}
    pulses = Pulses(
        *(
            Pulse(tmp_path / name, limit, lambda: clock[0])
            for name, limit in (("dispatch", 30), ("studies", 90))
        )
    )
    for _ in range(9):
        clock[0] += 10
        beats["dispatch"]()
        os.utime(tmp_path / "dispatch", ns=(0, int(clock[0] * 1e9)))
        assert not pulses.stopped()
    clock[0] += 10
    os.utime(tmp_path / "dispatch", ns=(0, int(clock[0] * 1e9)))
    assert pulses.stopped()
    assert pulses.seconds == 90

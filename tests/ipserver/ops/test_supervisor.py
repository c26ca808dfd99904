"""How `ipserver up` starts, announces and stops its parts; test_up.py tests it as a whole."""

import errno
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from ipserver.errors import StartupError
from ipserver.ops import parts, places, up
from ipserver.store.records.cluster import CapacityReport, DatasetReport
from tests.ipserver.support import settings_in, store_in

# A part that records when it was told to stop, waits until the others were told too, and stops slowly.
_PART = """
import signal, sys, time
from pathlib import Path
folder = Path({folder!r})
def stop(*_):
    print("told", time.monotonic(), flush=True)
    (folder / {name!r}).touch()
    while not all((folder / other).exists() for other in {after!r}):
        time.sleep(0.01)
    time.sleep({seconds})
    print("done", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def start(tmp_path):
    """Starts a replacement of a part that takes some seconds to stop, after others were told to."""
    started = []

    def start(name, seconds, after=()):
        program = _PART.format(folder=str(tmp_path), name=name, seconds=seconds, after=after)
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return up._Part(name, process)

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()


def test_a_slow_api_takes_no_time_from_the_dispatcher(start, monkeypatch):
    monkeypatch.setattr(up, "_STOP_SECONDS", {"api": 0.5, "dispatch": 60.0, "forward": 60.0})
    # If they were stopped one after another, the first would wait for the second until it is killed.
    api, dispatch = start("api", 600), start("dispatch", 0, after=["forward"])
    forward = start("forward", 0, after=["dispatch"])

    up._stop([api, dispatch, forward])

    told = [float(part.process.stdout.readline().split()[1]) for part in (api, dispatch, forward)]
    assert api.process.returncode == -9
    assert (dispatch.process.returncode, forward.process.returncode) == (0, 0)
    assert min(told[1:]) > told[0] + 0.4  # after the API


def test_each_part_has_its_own_bound(start, monkeypatch):
    monkeypatch.setattr(up, "_STOP_SECONDS", {"api": 60.0, "dispatch": 60.0, "forward": 0.2})
    dispatch, forward = start("dispatch", 1), start("forward", 600)

    up._stop([dispatch, forward])

    assert (dispatch.process.returncode, forward.process.returncode) == (0, -9)


def test_the_dispatcher_has_time_to_drain_even_after_a_slow_api():
    assert up._STOP_SECONDS["dispatch"] >= 25
    others = [seconds for name, seconds in up._STOP_SECONDS.items() if name != "api"]  # these end together
    assert up._STOP_SECONDS["api"] + max(others) <= 60


def test_the_announcement_is_for_its_owner_and_holds_no_password(tmp_path):
    settings = settings_in(tmp_path, mlflow_tracking_uri="postgresql://lab:se/cret@db/mlflow")
    (tmp_path / "service.json.new").write_text("left behind, readable by all")

    up._announce(settings, [])

    path = tmp_path / "service.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["mlflow_tracking_uri"] == "postgresql://lab:***@db/mlflow"


def test_a_service_starts_without_an_announcement_on_a_full_disk(tmp_path, caplog, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(up, "announce", full)
    up._announce(settings_in(tmp_path), [])
    assert "service.json is missing or outdated; it cannot be written: [Errno 28]" in caplog.text


def test_the_announcement_holds_the_uri_of_sqlite(tmp_path):
    up._announce(settings_in(tmp_path), [])

    status = json.loads((tmp_path / "service.json").read_text())
    assert status["mlflow_tracking_uri"] == f"sqlite:///{tmp_path}/mlflow/mlflow.db"


def test_another_data_folder_makes_the_last_report_forget_datasets(tmp_path):
    seen = CapacityReport({"cpus": 2.0}, (DatasetReport("mnist", ""),), data="/data")
    store = store_in(settings_in(tmp_path / "home"))
    with store:
        assert up._last_report(store, settings_in(tmp_path / "home")) is None
        store.save_capacity(seen)
        same = up._last_report(store, settings_in(tmp_path / "home", data="/data"))
        assert [report.name for report in same.datasets] == ["mnist"]
        other = up._last_report(store, settings_in(tmp_path / "home", data="/other"))
        assert (other.datasets, other.data, other.resources) == ((), "/other", {"cpus": 2.0})
        assert store.capacity() == other


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
    up._start(settings, "api").communicate(timeout=120)
    assert older.read_text() == "x" * 11
    assert "DSN" in log.read_text()  # the part writes to the new log


def test_a_part_is_started_again_even_where_nothing_can_be_written(start, tmp_path, monkeypatch, caplog):
    settings = settings_in(tmp_path)
    (tmp_path / "service.json").mkdir()  # the existing file cannot be replaced
    monkeypatch.setattr(up, "_POLL_SECONDS", 0.05)
    ended, again, stop = start("api", 1), start("api", 1), threading.Event()
    ended.process.kill()

    def restart(_, name):
        stop.set()
        return again.process

    monkeypatch.setattr(up, "_start", restart)

    up._supervise(settings, [ended], stop)

    assert ended.process is again.process
    assert "service.json is missing or outdated" in caplog.text


def test_a_part_that_hangs_is_killed_and_started_again(start, tmp_path, monkeypatch, caplog):
    settings = settings_in(tmp_path)
    monkeypatch.setattr(up, "_PULSE_SECONDS", {"dispatch": 0.3})
    monkeypatch.setattr(up, "_POLL_SECONDS", 0.05)
    hung, well = start("dispatch", 1), start("api", 1)
    hung.pulse = up._pulse(settings, "dispatch")
    again, stop = start("dispatch", 1), threading.Event()

    def restart(_, name):
        monkeypatch.setattr(up, "_PULSE_SECONDS", {})
        stop.set()
        return again.process

    monkeypatch.setattr(up, "_start", restart)
    first = hung.process

    up._supervise(settings, [well, hung], stop)

    assert first.returncode == -9
    assert hung.process is again.process
    assert hung.process.poll() is None
    assert well.process.poll() is None
    assert "part dispatch has hung for 0.3 s and is killed" in caplog.text
    announced = json.loads((tmp_path / "service.json").read_text())["parts"]
    assert announced == {"api": well.process.pid, "dispatch": again.process.pid}


def test_the_service_goes_on_without_a_web_page_that_does_not_stay_up(start, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(up, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(up, "_STOPPING_SECONDS", 0.0)
    well, broken, stop = start("api", 1), start("web", 1), threading.Event()
    broken.process.kill()
    started = []

    def restart(_, name):
        started.append(name)
        again = start(name, 1).process
        again.kill()
        return again

    monkeypatch.setattr(up, "_start", restart)
    supervisor = threading.Thread(target=up._supervise, args=(settings_in(tmp_path), [well, broken], stop))
    supervisor.start()
    while "continues without it" not in caplog.text:
        assert supervisor.is_alive()
        time.sleep(0.01)
    stop.set()
    supervisor.join(60)

    assert started == ["web"] * up._RESTARTS
    assert well.process.poll() is None


def test_nobody_has_chosen_the_port_after_the_api_s_so_another_will_do(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        chosen = up._web_address(settings_in(tmp_path, address=f"127.0.0.1:{port - 1}"))
        assert chosen not in {"", f"127.0.0.1:{port}"}
        with pytest.raises(StartupError, match=f"cannot listen on 127.0.0.1:{port}: .*--web HOST:PORT"):
            up._web_address(settings_in(tmp_path, web=f"127.0.0.1:{port}"))
    assert up._web_address(settings_in(tmp_path, web="off")) == "off"


def test_a_log_is_rotated_while_its_part_writes(start, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "LOG_BYTES", 1000)
    monkeypatch.setattr(up, "_ROTATE_SECONDS", 0.0)
    monkeypatch.setattr(up, "_POLL_SECONDS", 0.01)
    settings, stop = settings_in(tmp_path), threading.Event()
    log = places.log_file(settings, "api")
    log.parent.mkdir()
    older = log.with_name("api.log.1")
    largest = 0
    with log.open("ab", buffering=0) as writing:  # a part appends
        supervisor = threading.Thread(target=up._supervise, args=(settings, [start("api", 1)], stop))
        supervisor.start()
        for number in range(300):
            writing.write(f"line {number:04d}\n".encode() * 10)
            largest = max(largest, log.stat().st_size)
            time.sleep(0.001)
            while number == 150 and not older.exists():
                time.sleep(0.001)
        deadline = time.monotonic() + 60
        while log.stat().st_size > 1000 and time.monotonic() < deadline:
            time.sleep(0.01)
        # What is written between a copy and the truncation is lost, so this comes when none is going on.
        writing.write(b"the last line\n")
    stop.set()
    supervisor.join()

    assert largest < 30_000
    assert older.stat().st_size > 1000
    assert b"the last line" in older.read_bytes() + log.read_bytes()


def test_a_log_that_finds_no_room_for_its_copy_is_emptied(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(places, "LOG_BYTES", 10)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(places.shutil, "copyfile", full)
    log = tmp_path / "api.log"
    log.write_text("x" * 11)

    places.rotate_log(log)

    assert log.read_text() == ""
    assert "api.log was emptied, since it could not be rotated: No space left on device" in caplog.text
    places.rotate_log(tmp_path / "missing.log")


def test_a_part_that_a_stop_of_everything_reached_first_is_not_started_again(start, tmp_path, monkeypatch):
    stop, ended = threading.Event(), start("api", 0)
    monkeypatch.setattr(up, "_start", lambda *_: pytest.fail("started again"))
    ended.process.terminate()
    ended.process.wait()
    threading.Timer(0.2, stop.set).start()

    up._supervise(settings_in(tmp_path), [ended], stop)


@pytest.mark.parametrize("ignored", [False, True])
def test_the_end_of_the_terminal_is_a_stop_unless_under_nohup(ignored):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
        stop = parts.stop_event()
        signal.raise_signal(signal.SIGHUP)
        assert stop.is_set() is not ignored
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_readiness_line_comes_when_training_is_possible(start, tmp_path, monkeypatch, capsys):
    settings, started = settings_in(tmp_path, address="127.0.0.1:0"), threading.Event()
    shown_before = []
    monkeypatch.setattr(up, "_start", lambda _, name: start(name, 0).process)
    monkeypatch.setattr(up, "_await_api", lambda *_: started.set())
    monkeypatch.setattr(up, "_stop", lambda _: None)  # the fixture stops them
    monkeypatch.setattr(up, "_await_web", lambda *_: "")
    monkeypatch.setattr(up, "_supervise", lambda *_: None)
    monkeypatch.setattr(up, "announce", lambda *_: None)

    def report():
        started.wait()
        shown_before.append(capsys.readouterr())
        with store_in(settings) as store:
            store.save_capacity(CapacityReport({"cpus": 2.0}, ()))

    reporter = threading.Thread(target=report)
    reporter.start()
    up.up(settings)
    reporter.join()

    assert shown_before[0].out == ""
    assert "starting the API" in shown_before[0].err, "a start of a minute is not silent"
    assert capsys.readouterr().out.startswith("iplab service at 127.0.0.1:")


def test_what_a_part_said_before_its_start_is_not_shown(start, tmp_path):
    settings = settings_in(tmp_path)
    log = places.log_file(settings, "api")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("of the last start\n")
    part = start("api", 0)
    part.logged = up._logged(settings, "api")

    assert up._tail(settings, part) == f"it has written nothing to {log}"
    with log.open("a") as file:
        file.write("no such file\n")
    assert up._tail(settings, part) == f"the end of {log}:\nno such file"
    log.write_text("rotated\n")
    assert up._tail(settings, part).endswith(":\nrotated")

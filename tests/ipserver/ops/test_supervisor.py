"""How `ipserver up` watches, announces and stops its parts; test_up.py tests it as a whole."""

import errno
import json
import threading
import time

import pytest

from ipserver.ops import places, processes, supervisor
from tests.ipserver.support import settings_in


def test_a_slow_api_takes_no_time_from_the_dispatcher(start, monkeypatch):
    monkeypatch.setattr(processes, "_STOP_SECONDS", {"api": 0.5, "dispatch": 60.0, "forward": 60.0})
    # If they were stopped one after another, the first would wait for the second until it is killed.
    api, dispatch = start("api", 600), start("dispatch", 0, after=["forward"])
    forward = start("forward", 0, after=["dispatch"])

    supervisor.stop_in_order([api, dispatch, forward])

    told = [float(part.process.stdout.readline().split()[1]) for part in (api, dispatch, forward)]
    assert api.process.returncode == -9
    assert (dispatch.process.returncode, forward.process.returncode) == (0, 0)
    assert min(told[1:]) > told[0] + 0.4  # after the API


def test_the_dispatcher_has_time_to_drain_even_after_a_slow_api():
    assert processes._STOP_SECONDS["dispatch"] >= 25
    others = [
        seconds for name, seconds in processes._STOP_SECONDS.items() if name != "api"
    ]  # these end together
    assert processes._STOP_SECONDS["api"] + max(others) <= 60


def test_the_announcement_is_for_its_owner_and_holds_no_password(tmp_path):
    settings = settings_in(tmp_path, mlflow_tracking_uri="postgresql://lab:se/cret@db/mlflow")
    (tmp_path / "service.json.new").write_text("left behind, readable by all")

    supervisor.announce_parts(settings, [])

    path = tmp_path / "service.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["mlflow_tracking_uri"] == "postgresql://lab:***@db/mlflow"


def test_a_service_starts_without_an_announcement_on_a_full_disk(tmp_path, caplog, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(supervisor, "announce", full)
    supervisor.announce_parts(settings_in(tmp_path), [])
    assert "service.json is missing or outdated; it cannot be written: [Errno 28]" in caplog.text


def test_the_announcement_holds_the_uri_of_sqlite(tmp_path):
    supervisor.announce_parts(settings_in(tmp_path), [])

    status = json.loads((tmp_path / "service.json").read_text())
    assert status["mlflow_tracking_uri"] == f"sqlite:///{tmp_path}/mlflow/mlflow.db"


def test_a_part_is_started_again_even_where_nothing_can_be_written(start, tmp_path, monkeypatch, caplog):
    settings = settings_in(tmp_path)
    (tmp_path / "service.json").mkdir()  # the existing file cannot be replaced
    monkeypatch.setattr(supervisor, "_POLL_SECONDS", 0.05)
    ended, again, stop = start("api", 1), start("api", 1), threading.Event()
    ended.process.kill()

    def restart(_, name):
        stop.set()
        return again.process

    monkeypatch.setattr(processes, "_start", restart)

    supervisor.supervise(settings, [ended], stop)

    assert ended.process is again.process
    assert "service.json is missing or outdated" in caplog.text


def test_a_part_that_hangs_is_killed_and_started_again(start, tmp_path, monkeypatch, caplog):
    settings = settings_in(tmp_path)
    monkeypatch.setattr(processes, "_PULSE_SECONDS", {"dispatch": 0.3})
    monkeypatch.setattr(supervisor, "_POLL_SECONDS", 0.05)
    hung, well = start("dispatch", 1), start("api", 1)
    hung.pulse = processes._pulse(settings, "dispatch")
    again, stop = start("dispatch", 1), threading.Event()

    def restart(_, name):
        monkeypatch.setattr(processes, "_PULSE_SECONDS", {})
        stop.set()
        return again.process

    monkeypatch.setattr(processes, "_start", restart)
    first = hung.process

    supervisor.supervise(settings, [well, hung], stop)

    assert first.returncode == -9
    assert hung.process is again.process
    assert hung.process.poll() is None
    assert well.process.poll() is None
    assert "part dispatch has hung for 0.3 s and is killed" in caplog.text
    announced = json.loads((tmp_path / "service.json").read_text())["parts"]
    assert announced == {"api": well.process.pid, "dispatch": again.process.pid}


def test_the_service_goes_on_without_a_web_page_that_does_not_stay_up(start, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "_STOPPING_SECONDS", 0.0)
    well, broken, stop = start("api", 1), start("web", 1), threading.Event()
    broken.process.kill()
    started = []

    def restart(_, name):
        started.append(name)
        again = start(name, 1).process
        again.kill()
        return again

    monkeypatch.setattr(processes, "_start", restart)
    thread = threading.Thread(target=supervisor.supervise, args=(settings_in(tmp_path), [well, broken], stop))
    thread.start()
    while "continues without it" not in caplog.text:
        assert thread.is_alive()
        time.sleep(0.01)
    stop.set()
    thread.join(60)

    assert started == ["web"] * supervisor._RESTARTS
    assert well.process.poll() is None


def test_a_log_is_rotated_while_its_part_writes(start, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "LOG_BYTES", 1000)
    monkeypatch.setattr(supervisor, "_ROTATE_SECONDS", 0.0)
    monkeypatch.setattr(supervisor, "_POLL_SECONDS", 0.01)
    settings, stop = settings_in(tmp_path), threading.Event()
    log = places.log_file(settings, "api")
    log.parent.mkdir()
    older = log.with_name("api.log.1")
    largest = 0
    with log.open("ab", buffering=0) as writing:  # a part appends
        thread = threading.Thread(target=supervisor.supervise, args=(settings, [start("api", 1)], stop))
        thread.start()
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
    thread.join()

    assert largest < 30_000
    assert older.stat().st_size > 1000
    assert b"the last line" in older.read_bytes() + log.read_bytes()


def test_a_part_that_a_stop_of_everything_reached_first_is_not_started_again(start, tmp_path, monkeypatch):
    stop, ended = threading.Event(), start("api", 0)
    monkeypatch.setattr(processes, "_start", lambda *_: pytest.fail("started again"))
    ended.process.terminate()
    ended.process.wait()
    threading.Timer(0.2, stop.set).start()

    supervisor.supervise(settings_in(tmp_path), [ended], stop)

"""`ipserver up` without its parts: the addresses, the last report and the line that the service is ready."""

import socket
import threading

import pytest

from ipserver.errors import StartupError
from ipserver.ops import processes, supervisor, up
from ipserver.store.records.cluster import CapacityReport, DatasetReport
from tests.ipserver.support import settings_in, store_in


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


def test_the_readiness_line_comes_when_training_is_possible(start, tmp_path, monkeypatch, capsys):
    settings, started = settings_in(tmp_path, address="127.0.0.1:0"), threading.Event()
    shown_before = []
    monkeypatch.setattr(processes, "_start", lambda _, name: start(name, 0).process)
    monkeypatch.setattr(up, "await_api", lambda *_: started.set())
    monkeypatch.setattr(up, "stop_in_order", lambda _: None)  # the fixture stops them
    monkeypatch.setattr(up, "await_web", lambda *_: "")
    monkeypatch.setattr(up, "supervise", lambda *_: None)
    monkeypatch.setattr(supervisor, "announce", lambda *_: None)

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

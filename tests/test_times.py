"""The file of times: what is written is read, and only what is not short."""

from tests import times


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "times.txt"
    file.write_text(times.written({"a.py::b[x y]": 1.25, "a.py::a": 0.24, "a.py::c": 0.25}), encoding="utf-8")
    assert file.read_text(encoding="utf-8") == "1.2\ta.py::b[x y]\n0.2\ta.py::c\n"
    assert times.known(file) == {"a.py::b[x y]": 1.2, "a.py::c": 0.2}
    assert times.known(tmp_path / "none") == {}


def test_phases_of_a_test_add_up():
    watch = times.Stopwatch()
    for seconds in (0.1, 0.2):
        watch.pytest_runtest_logreport(type("Report", (), {"nodeid": "t", "duration": seconds}))
    assert round(watch.times["t"], 6) == 0.3


def test_tests_of_files_that_are_gone_are_forgotten(tmp_path, monkeypatch):
    (tmp_path / "here.py").touch()
    monkeypatch.setattr(times, "ROOT", tmp_path)
    monkeypatch.setattr(times, "FILE", tmp_path / "times.txt")
    times.FILE.write_text(times.written({"gone.py::a": 1, "here.py::not run": 2, "here.py::run": 3}))
    watch = times.Stopwatch()
    watch.times = {"here.py::run": 4.0}
    watch.pytest_sessionfinish()
    assert times.known(times.FILE) == {"here.py::not run": 2.0, "here.py::run": 4.0}


def test_the_file_names_only_tests_of_files_that_exist():
    files = {times.file_of(nodeid) for nodeid in times.known()}
    assert [file for file in sorted(files) if not (times.ROOT / file).is_file()] == []

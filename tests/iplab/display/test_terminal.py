"""Commands with streams of every kind: closed, cut off, full, narrow, wide, with limited encodings."""

import contextlib
import io
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from iplab.cli import main
from iplab.display.tables import print_table, table_of
from iplab.display.terminal import echo, folded, visible
from iplab.shadowing import SERVER, require_libraries

LABEL = "µ-Größe λ → 日本"
SPEC = {
    "spec": {
        "dataset": "digits",
        "batch_size": 32,
        "steps": 20,
        "grid": {
            "parameterizations": [
                {"preset": "mup", "label": "a-plain-label-that-is-long-enough-to-be-folded"}
            ],
            "widths": [8, 16],
            "hidden_layers": [2],
            "activations": ["relu"],
            "base_learning_rates": [0.1],
            "seeds": [0, 1],
        },
    }
}
ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LATIN = {"PYTHONIOENCODING": "latin-1"}


@pytest.fixture(scope="module")
def experiment(service):
    import iplab

    with iplab.connect(service.address) as client:
        created = client.create(SPEC | {"display_name": LABEL}, experiment_id="named-in-many-letters")
        yield created
        created.cancel()


def run(service, *arguments, module="iplab", **options):
    """Run a command as a process; `env` adds variables, `shell` is appended to the command in a shell."""
    command = [sys.executable, "-c" if module == SEVERAL else "-m", module, *arguments]
    environment = {
        **os.environ,
        "IPLAB_ADDRESS": service.address if service else "",
        **options.pop("env", {}),
    }
    shell = options.pop("shell", "")
    if shell:
        # The status of the command itself, not of the pipe behind it.
        command = ["bash", "-c", f'"$@" {shell}; exit ${{PIPESTATUS[0]}}', "-", *command]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(command, check=False, env=environment, timeout=60, **streams)


def called(service, *arguments, env=None):
    """Run a command in this process, where its streams do not matter."""
    return CliRunner().invoke(main, ["--address", service.address, *arguments], env=env)


# Runs several commands in one process, since a start takes most of the time; writes their statuses to a file.
SEVERAL = """
import json, sys
from iplab.__main__ import main
told, statuses = sys.argv[1], []
for sys.argv[1:] in json.loads(sys.argv[2]):
    try:
        main()
    except SystemExit as end:
        statuses.append(end.code or 0)
open(told, "w").write(json.dumps(statuses))
"""


def run_several(service, folder, commands, **options):
    """Commands in one process: its output, and the status of each command."""
    told = folder / "statuses"
    told.unlink(missing_ok=True)
    done = run(service, str(told), json.dumps(commands), module=SEVERAL, **options)
    return done, json.loads(told.read_text())


@pytest.mark.parametrize("env", [ASCII, LATIN, {"TERM": "dumb"}, {"NO_COLOR": "1"}, {"LC_ALL": "nonsense"}])
def test_names_of_any_letters_are_shown_in_any_encoding(service, experiment, env, tmp_path):
    commands = [["list"], ["runs", experiment.id], ["show", experiment.id]]
    done, statuses = run_several(service, tmp_path, commands, env=env)
    assert (statuses, done.stderr) == ([0, 0, 0], b"")
    assert experiment.id.encode() in done.stdout and b"r00000" in done.stdout
    # click treats ASCII as a mistake and writes UTF-8.
    encoding = "latin-1" if env == LATIN else "utf-8"
    assert LABEL.encode(encoding, errors="backslashreplace") in done.stdout


@pytest.mark.parametrize("env", [ASCII, LATIN])
def test_errors_with_any_letters_are_shown_in_any_encoding(service, env, tmp_path):
    file = tmp_path / "µ.yaml"
    file.write_text('spec: {dataset: "日本"}', encoding="utf-8")
    done = run(service, "submit", str(file), env={**env, "PYTHONUTF8": "1"})
    assert done.returncode == 2
    assert b"error: " in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("columns", ["1", "20", "80", "400"])
def test_any_width_of_the_terminal(service, experiment, columns):
    for command in (["--help"], ["list"], ["show", experiment.id], ["runs", experiment.id], ["catalog"]):
        done = called(service, *command, env={"COLUMNS": columns, "FORCE_COLOR": "1"})
        assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["catalog"], ["runs", "named-in-many-letters", "--json"], ["list"]])
def test_a_reader_that_goes_away_is_no_error(service, experiment, arguments):
    done = run(service, *arguments, shell="| true")
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("shell", "commands"),
    [
        (">&-", [["list"], ["runs", "named-in-many-letters", "--json"], ["catalog", "--json"], ["--help"]]),
        (">&- 2>&-", [["list"], ["--help"]]),
        ("<&- >&- 2>&-", [["runs", "named-in-many-letters", "--json"], ["--help"]]),
    ],
)
def test_closed_streams_are_no_error(service, experiment, shell, commands):
    for arguments in commands:
        done = run(service, *arguments, shell=shell)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110
def test_a_full_disk_behind_the_output_is_said(service, experiment):
    for arguments in (["list"], ["list", "--json"]):
        done = run(service, *arguments, shell="> /dev/full")
        assert (done.returncode, done.stderr) == (2, b"error: [Errno 28] No space left on device\n")


def test_a_list_as_json_is_one_document(service, experiment):
    assert len(json.loads(called(service, "runs", experiment.id, "--json").stdout)) == 4
    nothing = called(service, "runs", experiment.id, "--json", "--filter", "index = 99")
    assert json.loads(nothing.stdout) == []
    assert json.loads(called(service, "metrics", experiment.id, "--json").stdout) == []


def test_files_in_the_working_folder_take_no_librarys_place(service, experiment, tmp_path):
    for name in ("json", "click", "grpc", "numpy", "logging", "rich", "yaml", "google"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('a file of the working folder')")
    for module, arguments in (("iplab", ["list"]), ("ipserver", ["settings"])):
        done = run(service, *arguments, module=module, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("module", "file", "shown"),
    [
        ("iplab", "grpc.py", "grpc.py"),
        ("ipserver", "ray.py", "ray.py"),
        ("ipserver", "click.py", "click.py"),
        ("iplab", "random.py", "random.py"),  # of Python's own
        ("ipserver", "queue.py", "queue.py"),
        ("iplab", "rich/__init__.py", "rich/"),
        ("ipserver", "ray/__init__.py", "ray/"),
    ],
)
def test_a_file_on_pythonpath_in_a_librarys_place_is_named(module, file, shown, tmp_path):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("raise ImportError('a file of somebody')")
    (tmp_path / "test.py").write_text("harmless")
    done = run(None, "--help", module=module, env={"PYTHONPATH": f"/nowhere{os.pathsep}{tmp_path}"})
    assert done.returncode == 2
    said = f"{module}: PYTHONPATH names {tmp_path}, where {shown} would be loaded instead of the library"
    assert done.stderr.decode().startswith(said)
    assert len(done.stderr.splitlines()) == 2


def test_an_empty_entry_of_pythonpath_is_the_working_folder(tmp_path):
    """`export PYTHONPATH=$PYTHONPATH:/lib` makes one where there was nothing."""
    (tmp_path / "random.py").write_text("raise ImportError('a file of somebody')")
    done = run(None, "--help", env={"PYTHONPATH": f"{os.pathsep}/nowhere"}, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"PYTHONPATH names the working folder, where random.py would be loaded" in done.stderr


def test_where_pip_installs_nothing_is_replaced(tmp_path):
    """Another environment's libraries on PYTHONPATH, and clones of them that are no packages."""
    (tmp_path / "installed" / "rich-13.dist-info").mkdir(parents=True)
    (tmp_path / "installed" / "dataclasses.py").write_text("raise ImportError('of an old Python')")
    (tmp_path / "clones" / "mlflow" / "mlflow").mkdir(parents=True)
    path = os.pathsep.join(str(tmp_path / name) for name in ("clones", "installed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        require_libraries("ipserver", SERVER)


@pytest.mark.parametrize(
    "env",
    [
        {"GRPC_POLL_STRATEGY": "epollex"},
        {"GRPC_POLL_STRATEGY": "none", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "cpp"},
    ],
)
def test_values_that_libraries_do_not_know_any_more(service, experiment, env):
    done = run(service, "list", env=env)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("env", "shell"), [(ASCII, ""), (LATIN, ""), (LATIN, "| true"), (ASCII, ">&-"), (LATIN, ">&- 2>&-")]
)
def test_the_servers_command_too(env, shell, tmp_path):
    home = tmp_path / "日本"
    done = run(
        None, "settings", "--home", str(home), module="ipserver", env=env | {"PYTHONUTF8": "1"}, shell=shell
    )
    assert done.returncode == (1 if shell == "| true" else 0)
    assert b"Traceback" not in done.stderr
    assert (
        shell or home.name.encode("utf-8" if env == ASCII else "latin-1", "backslashreplace") in done.stdout
    )


def test_control_characters_are_shown_and_not_sent():
    hostile = "\x1b]0;title\x07\x1b[2J\u202egnp.exe\x9b31m\r"
    assert visible(hostile) == r"\x1b]0;title\x07\x1b[2J\u202egnp.exe\x9b31m\r"
    assert visible("é, 宽度, one\n\ttwo") == "é, 宽度, one\n\ttwo"
    assert "\x1b" not in folded(hostile)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        print_table(table_of(["\x1b[1mname"], [[hostile]], title=hostile))
    assert "\x1b" not in printed.getvalue()


def test_what_commands_print_steers_no_terminal(capsys):
    echo("e\x1b[2J\u202e\tend")
    echo("one\ntwo\r", err=True)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("e\\x1b[2J\\u202e\tend\n", "one\ntwo\\r\n")

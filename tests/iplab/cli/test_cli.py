"""The command line against a real service: output, JSON, exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import iplab as sdk
from iplab.cli import main
from tests.iplab.conftest import small_spec

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_help_states_the_exit_codes():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for line in ("0  done", "1  it ended FAILED", "3  no service answers", "130  interrupted"):
        assert line in result.output
    own = (
        "submit",
        "watch",
        "list",
        "show",
        "runs",
        "metrics",
        "weights",
        "extend",
        "cancel",
        "pause",
        "resume",
    )
    assert max(map(len, result.output.splitlines())) <= 80
    # Not the second line of another command.
    summaries = [
        line for line in result.output.splitlines() if line.startswith(tuple(f"  {n} " for n in own))
    ]
    assert len(summaries) == len(own)
    assert not any("..." in line for line in summaries)


def test_submit_prints_the_id(iplab, spec_file):
    result = iplab("submit", spec_file, "--id", "by-cli")
    assert (result.exit_code, result.stdout) == (0, "by-cli\n")
    assert json.loads(iplab("show", "by-cli", "--json").stdout)["counts"]["queued"] == 8
    assert iplab("cancel", "by-cli").stdout == "by-cli is CANCELLED\n"


def test_a_dry_run_creates_nothing(iplab, spec_file):
    result = iplab("submit", spec_file, "--id", "dry", "--dry-run")
    assert result.exit_code == 0
    assert "8 runs, 160 steps" in result.stdout
    assert iplab("show", "dry").exit_code == 4
    plain = json.loads(iplab("submit", spec_file, "--dry-run", "--json").stdout)
    assert plain["counts"]["total"] == 8
    assert not {"name", "state", "create_time"} & set(plain)


def test_an_id_that_is_taken_is_wrong_usage_and_what_goes_on_with_it_is_named(iplab, spec_file, trained):
    for arguments in (["submit", spec_file], ["clone", "trained"]):
        result = iplab(*arguments, "--id", "trained")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "experiment 'trained' exists already; choose another id" in result.stderr
        assert "`iplab show trained`; more runs for it: `iplab extend trained`" in result.stderr


def test_an_empty_id_is_refused(iplab, spec_file):
    result = iplab("submit", spec_file, "--id", "")
    assert result.exit_code == 2
    assert "--id is empty" in result.stderr


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:118655",
        "127.0.0.1",
        "http://127.0.0.1:5",
        ":",
        ":abc",
        ":50051",
        "127.0.0.1:0",
        "::1:5",
        "a b:1",
    ],
)
def test_what_is_no_address_exits_2(iplab, address):
    result = iplab("list", address=address)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: address: {address!r} is not an address; write HOST:PORT")


@pytest.mark.parametrize(
    "address", ["[::1]:1", "a-b.example:65535", "unix:/tmp/socket", "dns:///localhost:1"]
)
def test_what_is_an_address_is_taken(address):
    sdk.connect(address).close()


def test_a_wrong_spec_prints_a_line_per_field_and_exits_2(iplab, tmp_path):
    file = tmp_path / "spec.yaml"
    text = yaml.safe_dump({**small_spec(activations=["rellu"]), "display_nam": "x"}, default_flow_style=None)
    file.write_text(text.replace("widths: [8, 16]", "widths: 64"))
    result = iplab("submit", file, "--id", "Wrong")
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = [line.removeprefix(f"error: {file}: ") for line in result.stderr.splitlines()]
    assert lines[0].startswith("error: --id: 'Wrong' is not an id"), "not said in the file"
    assert lines[1] == "line 1: display_nam: unknown field; did you mean display_name?"
    assert ": spec.grid.activations[0]: unknown activation 'rellu'" in lines[2]
    assert ": spec.grid.widths: 64 is not a list; write [64] for a single value" in lines[3]
    assert len(lines) == 4


def test_what_the_service_refuses_is_shown_with_its_line(iplab, tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(small_spec(activations=["rellu"])))
    result = iplab("submit", file)
    assert result.exit_code == 2
    line = 1 + file.read_text().splitlines().index("    - rellu")
    assert f"error: {file}: line {line}: spec.grid.activations[0]: " in result.stderr
    assert "relu" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit"],
        ["submit", "x.yaml", "--colour"],
        ["konnect"],
        ["submit", "x.yaml", "--dry-run", "--watch"],
        ["metrics", "trained", "--csv", "--json"],
        ["runs", "trained", "--filter", "widht = 3"],
        ["list", "--limit", "0"],
    ],
)
def test_wrong_usage_exits_2(iplab, trained, arguments):
    result = iplab(*arguments)
    assert result.exit_code == 2
    assert result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["show", "absent"], ["runs", "absent"], ["watch", "absent"], ["weights", "trained", "99"]],
)
def test_what_is_not_there_exits_4(iplab, trained, arguments):
    result = iplab(*arguments)
    assert result.exit_code == 4
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_no_service_exits_3(iplab, impatient):
    result = iplab("list", address="127.0.0.1:1")
    assert result.exit_code == 3
    assert "no iplab service answers at 127.0.0.1:1" in result.stderr
    assert "ipserver up" in result.stderr


def test_watch_says_how_it_ended(iplab, trained):
    result = iplab("watch", "trained")
    assert result.exit_code == 0
    assert result.stdout.startswith("trained is SUCCEEDED: 8 runs (8 succeeded)\n")
    assert result.stdout.count("±") == 8, "and what came out"
    assert result.stderr.splitlines()[-2:] == ["160 of 160 steps (100 %)", "trained is SUCCEEDED"]


def test_all_diverged_is_said_and_has_its_exit_code(iplab, service, client):
    spec = small_spec(base_learning_rates=[1e18, 1e19])
    identifier = client.create(spec).id
    service.train()
    result = iplab("watch", identifier)
    assert result.exit_code == 7
    text = " ".join(result.stdout.split())
    assert "every run diverged" in text
    assert "base learning rates smaller than 1e+18" in text
    assert "─" not in text, "there is nothing for a table"
    assert "a run has diverged" in result.stderr
    # Nothing about it reads like a success.
    ended = client.experiment(identifier)
    for shown in (
        result.stdout,
        result.stderr,
        iplab("show", identifier).stdout,
        iplab("show", identifier, "--best").stdout,
        next(line for line in iplab("list").stdout.splitlines() if identifier in line),
        repr(ended),
        ended._repr_html_(),
    ):
        assert "SUCCEEDED" not in shown
        assert "rates were chosen" not in shown
    assert text.startswith(f"{identifier} has ended: 16 runs (all diverged)")
    as_json = iplab("watch", identifier, "--json")
    assert as_json.exit_code == 7
    assert "every run diverged" in iplab("show", identifier).stdout
    half = client.create(small_spec(base_learning_rates=[0.1, 1e18])).id
    service.train()
    result = iplab("watch", half)
    assert result.exit_code == 0
    assert "8 of 16 runs diverged" in result.stdout


def test_watch_as_json_prints_an_event_per_line(iplab, trained):
    result = iplab("watch", "trained", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, trained.sequence + 1))
    assert events[-1]["event"] == "StateChanged"
    assert events[-1]["state"] == "SUCCEEDED"


def test_a_cancelled_experiment_exits_1(iplab, client):
    identifier = client.create(small_spec()).cancel().id
    for arguments in (["watch", identifier], ["watch", identifier, "--json"]):
        assert iplab(*arguments).exit_code == 1


def test_submit_and_watch(iplab, service, client, spec_file):
    """Cancelled from elsewhere while it is followed."""
    import threading

    def cancel_when_there():
        while not list(client.experiments('experiment = "followed"')):
            pass
        client.experiment("followed").cancel()

    other = threading.Thread(target=cancel_when_there)
    other.start()
    result = iplab("submit", spec_file, "--id", "followed", "--watch")
    other.join()
    assert result.exit_code == 1
    assert result.stdout == "followed is CANCELLED: 8 runs (8 cancelled)\n"
    assert "submitted followed" in result.stderr


def test_one_run_is_cancelled(iplab, client):
    experiment = client.create(small_spec())
    assert iplab("cancel", experiment.id, "3").stdout == "r00003 is CANCELLED\n"
    assert json.loads(iplab("cancel", experiment.id, "--json").stdout)["state"] == "CANCELLED"


def test_what_has_ended_is_neither_cancelled_nor_resumed(iplab, client, trained):
    cancelled = client.create(small_spec()).cancel().id
    for arguments, code, said in (
        (["resume", cancelled], 8, "nothing to resume: it has ended"),
        (["pause", cancelled], 8, "nothing to pause: it has ended"),
        (["cancel", cancelled], 0, ""),
        (["cancel", "trained"], 8, "nothing to cancel: it has ended"),
        (["cancel", "trained", "r3"], 8, "nothing to cancel: it has ended"),
        (["resume", "trained", "--json"], 8, "nothing to resume: it has ended"),
    ):
        result = iplab(*arguments)
        assert (result.exit_code, result.stderr.strip()) == (code, said), arguments


def test_global_options_may_stand_before_and_after_the_command(service, trained):
    def call(*arguments):
        return CliRunner().invoke(main, list(map(str, arguments)), env={"IPLAB_ADDRESS": "127.0.0.1:1"})

    plain = call("--address", service.address, "show", "trained", "--json").stdout
    assert json.loads(plain)["name"] == "experiments/trained"
    assert call("show", "trained", "--address", service.address, "--json").stdout == plain
    assert call("--json", "show", "trained", "--address", service.address).stdout == plain
    assert (
        call("--address", "127.0.0.1:1", "--json", "show", "--address", service.address, "trained").stdout
        == plain
    )
    assert call("analyze", "--address", "127.0.0.1:1", "--preset", "mup", "-h").exit_code == 0


def test_a_missing_option_is_told_with_what_it_takes():
    result = CliRunner().invoke(main, ["study", "rate-transfer", "--parameterization", "mup"])
    assert result.exit_code == 2
    assert "Missing option '--budget'. Budget: 10m, 400 runs" in result.stderr


def test_help_is_had_in_every_way():
    def call(*arguments):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert call("-h") == call("--help") == call("help")
    assert call("show", "-h") == call("show", "--help") == call("help", "show")
    for name in main.commands:
        assert "--address" in call(name, "-h")
        assert "--json" in call(name, "-h")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shw"], "Did you mean 'show'"),
        (["show", "traned"], "did you mean 'trained'"),
        (["show", "trained", "99"], "its 8 runs are 0 to 7"),
        (["runs", "trained", "--limt", "3"], "Did you mean '--limit'"),
        (["metrics", "trained", "--names", "x"], "Did you mean '--metric'"),
        (["plot", "trained", "--save", "x"], "Did you mean '--output'"),
        (["metrics", "trained", "--xyzzy"], "No such option '--xyzzy'.\n"),
        (["extend", "trained", "--rates", "1"], "Did you mean '--base-learning-rates'"),
        (["extend", "trained", "--lr", "1"], "Did you mean '--base-learning-rates'"),
        (["study", "rate-transfer", "--depth", "1"], "Did you mean '--hidden-layers'"),
        (["study", "rate-transfer", "s.yaml", "--budget", "9m"], "a spec's file is given as --spec s.yaml"),
        (["extend", "trained", "--seeds", "3..1"], "'3..1' runs backwards"),
        (["extend", "trained", "--seeds", f"0..{10**30}"], "is more than 100,000 numbers"),
        (["runs", "trained", "--sort", "widht"], "did you mean 'width'"),
        (["plot", "trained", "--kind", "curves", "--by", "widht"], "did you mean width? There are: "),
        (["plot", "trained", "--kind", "curve"], "did you mean 'curves'? There are: coordinates"),
        (["plot", "trained", "--kind", "drift"], "three base learning rates or more at three widths"),
        (["list", "--filter", "state = SUCEEDED"], "did you mean SUCCEEDED? There are: QUEUED"),
        (["list", "--filter", "state = DONE"], "no value 'DONE'; there are: QUEUED"),
    ],
)
def test_what_was_meant_is_suggested(iplab, trained, arguments, said):
    assert said in iplab(*arguments).stderr


def test_extend(iplab, client):
    identifier = client.create(small_spec()).id
    said = iplab("extend", identifier, "--seeds", "2..4,7", "--dry-run").stdout
    assert said == f"{identifier} would have 24 runs, 16 of them new\n"
    assert (
        iplab("extend", identifier, "--widths", "12").stdout == f"{identifier} has 12 runs, 4 of them new\n"
    )
    rates = json.loads(iplab("extend", identifier, "--base-learning-rates", "0.2,0.4", "--json").stdout)
    assert rates["counts"]["total"] == 36
    twice = iplab("extend", identifier, "--seeds", "1,9")
    assert twice.exit_code == 2
    assert "seeds[0]: the experiment has the seed 1 already" in twice.stderr
    for option, text, named in (("--seeds", "1..x", "'1..x'"), ("--widths", "8,1.5", "'1.5'")):
        wrong = iplab("extend", identifier, option, text)
        assert wrong.exit_code == 2
        assert named in wrong.stderr
    assert iplab("extend", identifier, "--dry-run", "--watch").exit_code == 2
    client.experiment(identifier).cancel()
    assert "it is CANCELLED" in iplab("extend", identifier, "--seeds", "9").stderr


def test_pause_and_resume(iplab, client):
    identifier = client.create(small_spec()).id
    assert iplab("pause", identifier).stdout == f"{identifier} is PAUSED\n"
    assert json.loads(iplab("pause", identifier, "--json").stdout)["counts"]["paused"] == 8
    assert "8 paused" in iplab("show", identifier).stdout
    assert identifier in iplab("list", "--filter", "state = PAUSED").stdout
    assert iplab("resume", identifier).stdout == f"{identifier} is QUEUED\n"
    assert iplab("pause", "nothing").exit_code == 4
    client.experiment(identifier).cancel()


def test_catalog(iplab):
    shown = iplab("catalog").stdout
    assert re.search(r"^digits +64 +10 classes +1437 +360 +(\(\w[\w ]+\) )?8x8", shown, re.MULTILINE)
    assert "parity: class 1 where the product" in shown
    assert re.search(r"^activations: relu, [^:]*relu\^p", shown, re.MULTILINE)
    assert "relu" in json.loads(iplab("catalog", "--json").stdout)["activations"]


def test_the_installed_command_reads_its_address_from_the_environment(service, trained):
    def run(address):
        return subprocess.run(
            [sys.executable, "-m", "iplab", "list", "--json"],
            env={**os.environ, "IPLAB_ADDRESS": address},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run(service.address).returncode == 0
    missing = run("127.0.0.1:1")
    assert missing.returncode == 3
    assert len(missing.stderr.splitlines()) == 1


def test_a_warning_inside_a_library_is_no_error():
    """PYTHONWARNINGS=error is set for the user's own programs, in CI above all."""
    program = (
        "import warnings, iplab.cli, iplab.__main__\n"
        "iplab.cli.main = lambda: warnings.warn('from deep inside a library', DeprecationWarning)\n"
        "iplab.__main__.main()"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_exits_130(service, client):
    experiment = client.create(small_spec())
    # If these tests are a background job of a shell, they and their children ignore the signal.
    listening = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from iplab.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", listening, "--address", service.address, "watch", experiment.id, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()  # it is watching
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert (process.returncode, "Traceback" in stderr) == (130, False), stderr
    experiment.cancel()
    assert experiment.refresh().counts.cancelled == 8


def test_a_dataset_that_is_not_there_is_refused_with_what_to_do(iplab, trained):
    result = iplab("submit", EXAMPLES / "mnist-ipllr.yaml")
    assert result.exit_code == 2
    assert "spec.dataset: " in result.stderr
    assert "mnist" in result.stderr

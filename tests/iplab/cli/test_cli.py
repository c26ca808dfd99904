"""The command line against a real service: output, JSON, exit codes."""

import csv
import io
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


@pytest.fixture
def iplab(service):
    """Run a command; gives click's result, with the two streams apart."""

    def call(*arguments, address=service.address):
        return CliRunner().invoke(main, ["--address", address, *map(str, arguments)])

    return call


@pytest.fixture
def spec_file(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(small_spec()))
    return file


def test_help_states_the_exit_codes():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for line in ("0  done", "1  the experiment ended FAILED", "3  no service answers", "130  interrupted"):
        assert line in result.output
    own = ("submit", "watch", "list", "show", "runs", "metrics", "weights", "cancel", "catalog")
    summaries = [line for line in result.output.splitlines() if line.strip().startswith(own)]
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
    assert lines[0].startswith("error: experiment_id: 'Wrong' is not an id"), "not said in the file"
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
    assert (result.exit_code, result.stdout) == (0, "trained is SUCCEEDED: 8 runs (8 succeeded)\n")
    assert result.stderr == ""


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


def test_list_and_show(iplab, trained):
    assert "trained" in iplab("list", "--filter", 'experiment = "trained"').stdout
    listed = json.loads(iplab("list", "--filter", 'experiment = "trained"', "--json").stdout)
    assert [entry["name"] for entry in listed] == ["experiments/trained"]
    shown = iplab("show", "trained").stdout
    assert "trained is SUCCEEDED: 8 runs (8 succeeded)" in shown
    assert "160 of 160 steps" in shown
    assert shown.count("±") == 8, "loss and accuracy of four points of the grid"
    assert len(json.loads(iplab("show", "trained", "--json").stdout)["summary"]) == 4


def test_runs(iplab, trained):
    table = iplab("runs", "trained", "--filter", "width = 16").stdout
    assert table.startswith("all SUCCEEDED, L=2, width 16, relu, base rate 0.1, step 20")
    assert table.count("r0000") == 4
    for heading in ("last train loss", "final test loss", "final test accuracy"):
        assert heading in table
    runs = json.loads(iplab("runs", "trained", "--json").stdout)
    assert [run["index"] for run in runs] == list(range(8))
    assert not any("attempts" in run for run in runs), "a listing does not read them"


def test_one_run_is_shown_with_its_attempts(iplab, trained):
    shown = iplab("show", "trained", "2").stdout
    assert shown.startswith("r00002 is SUCCEEDED: 20 of 20 steps\nllr, L=2, width 8, relu")
    assert "from step" in shown
    assert f"final test loss: {trained.run(2).final_test_loss:.6g}" in shown
    assert json.loads(iplab("show", "trained", "r00002", "--json").stdout)["attempts"][0]["number"] == 1
    assert iplab("show", "trained", "99").exit_code == 4


def test_a_failed_run_shows_traceback_and_log(own_service):
    from ipserver.states import FailureReason
    from ipserver.store.records import Failure
    from tests.iplab.test_experiment import plan

    def call(*arguments):
        return CliRunner().invoke(main, ["--address", own_service.address, *arguments]).stdout

    with sdk.connect(own_service.address) as client:
        lease = plan(own_service, client.create(small_spec(), experiment_id="e"))
    failure = Failure(FailureReason.TRAINING_ERROR, "it broke", "Traceback: here", "the last line")
    own_service.store.end_attempt("e", lease.id, lease.token, failure=failure, retry=False)
    assert "r00000 failed: it broke (more: iplab show e r00000)" in call("show", "e")
    shown = call("show", "e", "0")
    for part in ("TRAINING_ERROR: it broke", "Traceback: here", "the last line"):
        assert part in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs", "trained", "--filter", "width = 3"], "no runs match"),
        (["metrics", "trained", "--first-step", "500"], "no points"),
        (["list", "--filter", 'experiment = "absent"'], "no experiments match"),
    ],
)
def test_no_result_is_said_on_standard_error(iplab, trained, arguments, said):
    result = iplab(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{said}\n")
    assert json.loads(iplab(*arguments, "--json").stdout) == []


def test_times_have_one_form(iplab, trained, tmp_path):
    metrics = json.loads(iplab("metrics", "trained", "--metric", "test_loss", "--json").stdout)
    file = tmp_path / "w"
    saved = json.loads(iplab("weights", "trained", "0", "--output", file, "--json").stdout)
    event = json.loads(iplab("watch", "trained", "--json").stdout.splitlines()[0])
    shown = json.loads(iplab("show", "trained", "--json").stdout)
    times = [metrics[0]["time"], saved["create_time"], event["time"], shown["create_time"]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for time in times), times


def test_warnings_are_short_in_show_and_whole_in_json(iplab, client, tmp_path):
    spec = small_spec(parameterizations=[{"preset": "ip"}], hidden_layers=[4])
    identifier = client.create(spec).cancel().id
    (line,) = [w for w in iplab("show", identifier).stdout.splitlines() if w.startswith("warning: ip,")]
    (whole,) = [
        w for w in json.loads(iplab("show", identifier, "--json").stdout)["warnings"] if w[:3] == "ip,"
    ]
    assert line.endswith(". (more: --json)")
    assert whole.startswith(line.removeprefix("warning: ").removesuffix(" (more: --json)"))
    assert "The largest stable rates" in whole
    assert "The largest stable rates" not in line


def test_metrics_in_three_forms(iplab, trained):
    select = ["metrics", "trained", "--filter", "index = 0", "--metric", "test_loss"]
    rows = list(csv.DictReader(io.StringIO(iplab(*select, "--csv").stdout)))
    assert [(row["run"], row["metric"], row["step"]) for row in rows] == [
        ("0", "test_loss", "0"),
        ("0", "test_loss", "20"),
    ]
    assert float(rows[-1]["value"]) == trained.run(0).final_test_loss, "all digits"
    plain = json.loads(iplab(*select, "--json").stdout)
    assert [row["step"] for row in plain] == [0, 20]
    assert "test_loss" in iplab(*select).stdout
    late = json.loads(iplab(*select, "--first-step", 1, "--json").stdout)
    assert [row["step"] for row in late] == [20]


def test_weights_are_shown_or_saved(iplab, trained, tmp_path):
    shown = iplab("weights", "trained", "r00001").stdout
    assert "float32" in shown
    assert "seed: 1" in shown
    described = json.loads(iplab("weights", "trained", "1", "--which", "initial", "--json").stdout)
    assert described["artifact"] == "weights/initial.safetensors"
    file = tmp_path / "w.safetensors"
    assert iplab("weights", "trained", "1", "--output", file).stdout == f"{file}\n"
    again = iplab("weights", "trained", "1", "--output", file)
    assert again.exit_code == 2
    assert f"{file} exists already; --force replaces it" in again.stderr
    saved = json.loads(iplab("weights", "trained", "1", "--output", file, "--force", "--json").stdout)
    assert saved["size_bytes"] == file.stat().st_size
    nowhere = tmp_path / "no" / "w"
    result = iplab("weights", "trained", "1", "--output", nowhere)
    assert result.exit_code == 2
    assert result.stderr == f"error: [Errno 2] No such file or directory: '{nowhere}'\n"


def test_one_run_is_cancelled(iplab, client):
    experiment = client.create(small_spec())
    assert iplab("cancel", experiment.id, "3").stdout == "r00003 is CANCELLED\n"
    assert json.loads(iplab("cancel", experiment.id, "--json").stdout)["state"] == "CANCELLED"


def test_catalog(iplab):
    assert "digits" in iplab("catalog").stdout
    assert "relu" in json.loads(iplab("catalog", "--json").stdout)["activations"]


def test_parameterizations_need_no_service(iplab):
    table = iplab("parameterizations", "--hidden-layers", 4, address="127.0.0.1:1").stdout
    assert "from step 0: -5/2 | -3 | -5/2; from step 1: -1 | -2 | -1" in table
    plain = json.loads(iplab("parameterizations", "--json").stdout)
    assert next(p for p in plain if p["preset"] == "mup")["a"] == ["0", "1/2", "1/2", "1"]


def test_analysis_says_what_and_why():
    def call(*arguments):
        return CliRunner().invoke(main, ["analyze", *arguments])

    trivial = call("--preset", "ip", "--hidden-layers", "3")
    assert trivial.exit_code == 0
    assert "trivial" in trivial.stdout
    # IP at L = 3: h^1..h^3 have exponents 0, -1/2, -1 at the start and change by -1, -1/2, -1 in step 1.
    assert "0  -1/2  -1" in trivial.stdout
    assert "-1  -1/2  -1" in trivial.stdout
    by_hand = call("--a", "0,1,1", "--b", "0,0,0", "--c", "-1,-2,-1", "--json")
    assert json.loads(by_hand.stdout) == json.loads(call("--preset", "ip", "--json").stdout)
    assert "gelu" in call("--preset", "ip-llr", "--hidden-layers", "4", "--activation", "gelu").stdout


def test_completing_ip_gives_ip_llr():
    result = CliRunner().invoke(main, ["complete", "--preset", "ip", "--hidden-layers", "6", "--json"])
    first = json.loads(result.stdout)["parameterization"]["phases"][0]
    assert first["c"] == ["-7/2", "-4", "-4", "-4", "-4", "-4", "-7/2"]
    text = CliRunner().invoke(main, ["complete", "--a", "0,1,1", "--b", "0,0,0", "--hidden-layers", "6"])
    assert "-7/2" in text.stdout


def theory_says(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_what_complete_prints_can_be_fed_back():
    # IP with Adam: no large first step, but epsilon follows the gradients.
    done = json.loads(theory_says("complete", "--preset", "ip", "--optimizer", "adam", "--json"))
    first, later = done["parameterization"]["phases"]
    assert (first["d"], later["d"]) == (["2", "5/2", "5/2", "2"], ["1", "2", "2", "1"])
    lists = {"a": "0,1,1", "b": "0,0,0", "c": "0,0,0", "d": "1,2,1", "d-first-step": "2,5/2,2"}
    options = [text for name, entries in lists.items() for text in (f"--{name}", entries)]
    found = json.loads(theory_says("analyze", *options, "--optimizer", "adam", "--json"))
    assert found["parameterization"] == done["parameterization"]
    assert found["regime"] == "feature_learning"
    advice = json.loads(theory_says("analyze", "--preset", "ip", "--optimizer", "adam", "--json"))["advice"]
    assert "c = 0 | 0 | 0 with d = 2 | 5/2 | 2 at step 0" in advice


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("command", [["analyze", "--c", "-1,-2,-1"], ["complete"]])
def test_rounded_decimals_are_said(command, form):
    said = theory_says(*command, "--a", "0.3333,1,1", "--b", "0,0.5,0", *form)
    assert "'0.3333' is taken as exactly 3333/10000; write '1/3' if that is meant" in said
    assert "'0.5'" not in said


def test_long_analyses_are_folded_to_a_terminal():
    text = theory_says("analyze", "--preset", "ip", "--hidden-layers", "12", "--steps", "1000")
    table = text.partition("trivial:")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert any(line.startswith("1..1000 ") for line in table)
    assert "0  -1/2 .. -11/2" in text
    assert "0 (x998)" in theory_says("analyze", "--preset", "mup", "--hidden-layers", "998")


def test_the_number_of_steps_shown_does_not_change_the_verdict():
    lists = ["--a", "0,1/2,1", "--b", "0,0,0", "--c", "-1,-1,-1", "--c-first-step", "5,5,5"]
    found = json.loads(theory_says("analyze", *lists, "--steps", "1", "--json"))
    assert (found["regime"], found["settled"]) == ("feature_learning", True)
    assert found["features"][0] == {"layer": 1, "step": 2}
    assert [sizes["step"] for sizes in found["steps"]] == [0, 1]


def test_presets_show_what_goes_beyond_their_exponents():
    table = theory_says("parameterizations")
    assert "w_0 x m^-k from step 1, k = 0 | 1/2 | 0" in table
    assert "k = 0 | removed | 0" in table
    assert "biases: a = 0 | 0 | 0" in table
    assert "not at this depth: mfp" in table
    assert "not at this depth" not in theory_says("parameterizations", "--hidden-layers", "1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["complete", "--preset", "hp"], "re-weighted initial matrices"),
        (["complete", "--preset", "hpz"], "re-weighted initial matrices"),
        (["analyze", "--preset", "ip", "--d", "0,0,0"], "not both"),
        (["analyze"], "missing: --a, --b, --c"),
        (["analyze", "--preset", "ipp"], "ip"),
        (["analyze", "--preset", "ip", "--a", "1,1,1"], "not both"),
        (["analyze", "--preset", "ip", "--hidden-layers", "0"], "hidden_layers"),
        (["analyze", "--preset", "ip", "--steps", "0"], "steps"),
        (["analyze", "--preset", "ip", "--activation", "rellu"], "relu"),
        (["analyze", "--a", "0,1/0,1", "--b", "0,0,0", "--c", "0,0,0"], "denominator"),
        (["complete", "--a", "0,1", "--b", "0,0,0"], "entries"),
        (["complete", "--a", "0,1,1"], "missing: --b"),
    ],
)
def test_what_theory_refuses_exits_2(arguments, said):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert said in result.stderr


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


def test_ctrl_c_exits_130(service, client):
    experiment = client.create(small_spec())
    process = subprocess.Popen(
        [sys.executable, "-m", "iplab", "--address", service.address, "watch", experiment.id, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()  # it is watching
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    experiment.cancel()
    assert experiment.refresh().counts.cancelled == 8


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.name)
def test_the_examples_are_good_specs(own_service, example):
    # On a service that has not looked for data files yet: MNIST is not everywhere.
    result = CliRunner().invoke(main, ["--address", own_service.address, "submit", str(example), "--dry-run"])
    assert result.exit_code == 0, result.stderr


def test_a_dataset_that_is_not_there_is_refused_with_what_to_do(iplab, trained):
    result = iplab("submit", EXAMPLES / "mnist-ipllr.yaml")
    assert result.exit_code == 2
    assert "spec.dataset: " in result.stderr
    assert "mnist" in result.stderr

"""Commands that read: tables for people, JSON and CSV for programs."""

import csv
import io
import json
import re

import pytest
from click.testing import CliRunner

import iplab as sdk
from iplab.cli import main
from iplab.results.experiment_view import QueuePlace
from tests.iplab.conftest import small_spec
from tests.ipserver.store.cases import new_pack


def test_list_and_show(iplab, trained):
    assert "trained" in iplab("list", "--filter", 'experiment = "trained"').stdout
    listed = json.loads(iplab("list", "--filter", 'experiment = "trained"', "--json").stdout)
    assert [entry["name"] for entry in listed] == ["experiments/trained"]
    shown = iplab("show", "trained").stdout
    assert "trained is SUCCEEDED: 8 runs (8 succeeded)" in shown
    assert "steps" not in shown, "it has ended"
    assert shown.count("±") == 8, "loss and accuracy of four points of the grid"
    assert len(json.loads(iplab("show", "trained", "--json").stdout)["summary"]) == 4


def test_runs(iplab, trained):
    table = iplab("runs", "trained", "--filter", "width = 16").stdout
    assert table.startswith(
        "all SUCCEEDED, 2 hidden layers, width 16, relu, base learning rate 0.1, 20 steps"
    )
    assert table.count("r0000") == 4
    for heading in ("last train loss", "final test loss", "final test accuracy"):
        assert heading in table
    runs = json.loads(iplab("runs", "trained", "--json").stdout)
    assert [run["index"] for run in runs] == list(range(8))
    assert not any("attempts" in run for run in runs), "a listing does not read them"


def test_what_a_limit_leaves_out_is_said(iplab, trained):
    """ "all SUCCEEDED" above three rows would else read as if it were about every run."""
    assert iplab("runs", "trained", "--limit", 3).stdout.startswith("the first 3 of 8 runs, all SUCCEEDED")
    assert "the first run" in iplab("runs", "trained", "--limit", 1, "--filter", "width = 8").stdout
    assert "the first" not in iplab("runs", "trained", "--limit", 8).stdout
    assert "the first 2 of 4 rows" in iplab("show", "trained", "--limit", 2).stderr
    assert "the first" not in iplab("show", "trained", "--limit", 4).stderr


def test_runs_and_results_are_sorted_and_limited(iplab, trained):
    def indices(*arguments):
        return [run["index"] for run in json.loads(iplab("runs", "trained", "--json", *arguments).stdout)]

    assert indices("--limit", 3) == [0, 1, 2]
    assert indices("--sort=-index", "--limit", 2) == [7, 6]
    losses = [trained.run(i).final_test_loss for i in range(8)]
    assert indices("--sort", "test_loss") == sorted(range(8), key=losses.__getitem__)
    by = indices("--sort", "-Seed, width")
    assert [trained.run(i).seed for i in by] == [1] * 4 + [0] * 4
    assert [trained.run(i).width for i in by[:4]] == [8, 8, 16, 16]
    rows = json.loads(iplab("show", "trained", "--json", "--sort=-loss", "--limit", 1).stdout)["summary"]
    means = [row.test_loss.mean for row in trained.summary()]
    assert [row["test_loss"]["mean"] for row in rows] == [max(means)]
    shown = json.loads(iplab("show", "trained", "--json", "--filter", "label = mup").stdout)["summary"]
    assert {row["parameterization"] for row in shown} == {"mup"}
    best = json.loads(iplab("show", "trained", "--best", "--json", "--sort=-best rate,width").stdout)["best"]
    assert best == sorted(best, key=lambda row: (-row["base_learning_rate"], row["width"]))
    by_result = json.loads(iplab("show", "trained", "--best", "--json", "--sort=final test loss").stdout)[
        "best"
    ]
    assert by_result == sorted(by_result, key=lambda row: row["test_loss"])
    wrong = iplab("runs", "trained", "--sort", "widht")
    assert wrong.exit_code == 2
    assert "unknown field 'widht'; did you mean 'width'?" in wrong.stderr
    assert "no column 'widht'; did you mean width?" in iplab("show", "trained", "--sort", "widht").stderr


def test_the_columns_of_runs_can_be_chosen(iplab, trained):
    shown = iplab("runs", "trained", "--columns", "run, m,loss", "--limit", 2).stdout.splitlines()
    assert shown[0] == "the first 2 of 8 runs"
    assert shown[1].split() == ["run", "width", "final", "test", "loss"]
    first = trained.run(0)
    assert shown[3].split() == ["r00000", "8", f"{first.final_test_loss:.4g}"]
    regime = iplab("runs", "trained", "--columns", "theory", "--limit", 1).stdout.splitlines()[-1]
    assert regime.strip() == first.predicted_regime.words, "as other tables have it"
    wrong = iplab("runs", "trained", "--columns", "widht")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert (
        "error: --columns: no column 'widht'; did you mean width? There are: experiment, run," in wrong.stderr
    )
    assert "--json has every value" in iplab("runs", "trained", "--columns", "width", "--json").stderr


def test_one_run_is_shown_with_its_attempts(iplab, trained):
    shown = iplab("show", "trained", "2").stdout
    assert shown.startswith("r00002 is SUCCEEDED: 20 of 20 steps\nllr, 2 hidden layers, width 8, relu")
    assert "finished its part" in shown
    assert "from step" in shown
    assert f"final test loss: {trained.run(2).final_test_loss:.6g}" in shown
    assert json.loads(iplab("show", "trained", "r00002", "--json").stdout)["attempts"][0]["number"] == 1
    assert iplab("show", "trained", "99").exit_code == 4


def test_a_failed_run_shows_traceback_and_log(own_service):
    from ipserver.store.records.runs import Failure
    from ipserver.store.states import FailureReason
    from tests.iplab.results.test_experiment import plan

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
        (
            ["runs", "trained", "--filter", "width = 3"],
            "no runs match: no run has width = 3; there are 8, 16",
        ),
        (
            ["runs", "trained", "--filter", "label = mupp or label = lr"],
            "no runs match: no run has parameterization = mupp; did you mean mup? There are "
            "llr, mup. no run has parameterization = lr; did you mean llr? There are llr, mup",
        ),
        (["runs", "trained", "--filter", "width = 8 and width = 16"], "no runs match"),
        (["metrics", "trained", "--first-step", "500"], "there are no points yet"),
        (
            ["metrics", "trained", "--filter", "seed > 3"],
            "no runs match: no run has seed > 3; there are 0, 1",
        ),
        (
            ["list", "--filter", "labels.nobody = absent"],
            "no experiments match: no experiment has labels.nobody = absent; none has a value",
        ),
    ],
)
def test_no_result_is_said_on_standard_error(iplab, trained, arguments, said):
    result = iplab(*arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert " ".join(result.stderr.split()) == said
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
    shown = " ".join(iplab("show", identifier).stdout.split())
    line = shown[shown.index("warning: ip,") : shown.index("(more: --json)") + len("(more: --json)")]
    (whole,) = [
        w for w in json.loads(iplab("show", identifier, "--json").stdout)["warnings"] if w[:3] == "ip,"
    ]
    assert line == "warning: ip, 4 hidden layers, relu: theory predicts trivial (more: --json)"
    assert " ".join(whole.split()).startswith(line.removeprefix("warning: ").removesuffix(" (more: --json)"))
    assert "The rates of the largest stable changes" in whole
    assert "The rates of the largest stable changes" not in line


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
    assert float(rows[-1]["base_learning_rate"]) == plain[-1]["base_learning_rate"], "settings stand beside"
    assert [rows[0][name] for name in ("parameterization", "width", "seed")] == ["mup", "8", "0"]
    assert "test_loss" in iplab(*select).stdout
    cut = iplab(*select, "--limit", 1, "--json")
    assert [row["step"] for row in json.loads(cut.stdout)] == [0]
    assert cut.stderr.startswith("the first 1 point of 2; more by --limit")
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
    assert result.stderr == (
        f"error: {nowhere}: there is no folder {nowhere.parent}; create it, or name a file elsewhere\n"
    )


def test_what_is_queued_says_where_it_stands(iplab, own_service, spec_file):
    for name in ("first", "second"):
        assert iplab("submit", spec_file, "--id", name, address=own_service.address).exit_code == 0
        leased, _ = own_service.store.lease_unplanned("planner", 60)
        own_service.store.save_plan(name, "planner", [new_pack("p0", range(8), leased.steps)])
    shown = iplab("show", "second", address=own_service.address).stdout
    assert "1 pack is likely to start before it\n" in shown
    with sdk.connect(own_service.address) as client:
        assert client.experiment("first").queue_place == QueuePlace(0, None)
        own_service.store.cancel_experiment("second")
        assert client.experiment("second").queue_place is None
